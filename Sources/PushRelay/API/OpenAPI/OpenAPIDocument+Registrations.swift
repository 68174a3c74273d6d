// The paths for apps.

extension OpenAPIDocument {
    static let registrations = #"""
        {
          "/api/v1/apps": {
            "get": {
              "operationId": "showApps",
              "tags": ["registrations"],
              "summary": "What an app can register with",
              "security": [{"password": []}],
              "responses": {
                "200": {
                  "description": "The apps of the server's configuration.",
                  "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Apps"}}
                  }
                },
                "403": {"$ref": "#/components/responses/Forbidden"}
              }
            }
          },
          "/api/v1/registrations": {
            "get": {
              "operationId": "showRegistrations",
              "tags": ["registrations"],
              "summary": "The user's devices",
              "security": [{"password": []}],
              "responses": {
                "200": {
                  "description": "All of them.",
                  "content": {
                    "application/json": {
                      "schema": {"$ref": "#/components/schemas/Registrations"}
                    }
                  }
                },
                "403": {"$ref": "#/components/responses/Forbidden"}
              }
            }
          },
          "/api/v1/registrations/{device}": {
            "parameters": [
              {
                "name": "device",
                "in": "path",
                "required": true,
                "description": "The app's name for the device; one of a kind for its user.",
                "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,64}$"}
              }
            ],
            "get": {
              "operationId": "showRegistration",
              "tags": ["registrations"],
              "summary": "A device",
              "security": [{"password": []}],
              "responses": {
                "200": {
                  "description": "The device.",
                  "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Device"}}
                  }
                },
                "403": {"$ref": "#/components/responses/Forbidden"},
                "404": {"$ref": "#/components/responses/NotFound"}
              }
            },
            "put": {
              "operationId": "register",
              "tags": ["registrations"],
              "summary": "Register a device",
              "description": "With these tokens and no others. Register anew at each start of \#
        the app, and when a token changes. A token that another device had is this one's from \#
        then on.",
              "security": [{"password": []}],
              "requestBody": {
                "required": true,
                "content": {
                  "application/json": {
                    "schema": {"$ref": "#/components/schemas/Registration"}
                  }
                }
              },
              "responses": {
                "200": {
                  "description": "It was known, and is now so.",
                  "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Device"}}
                  },
                  "headers": {
                    "Location": {"description": "Where it is.", "schema": {"type": "string"}}
                  }
                },
                "201": {
                  "description": "It is new.",
                  "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Device"}}
                  },
                  "headers": {
                    "Location": {"description": "Where it is.", "schema": {"type": "string"}}
                  }
                },
                "403": {"$ref": "#/components/responses/Forbidden"},
                "404": {"$ref": "#/components/responses/NotFound"},
                "409": {"$ref": "#/components/responses/Conflict"},
                "415": {"$ref": "#/components/responses/UnsupportedType"},
                "422": {"$ref": "#/components/responses/Invalid"}
              }
            },
            "delete": {
              "operationId": "unregister",
              "tags": ["registrations"],
              "summary": "End a registration",
              "security": [{"password": []}],
              "responses": {
                "204": {"description": "It is gone, with what waited for it."},
                "403": {"$ref": "#/components/responses/Forbidden"},
                "404": {"$ref": "#/components/responses/NotFound"}
              }
            }
          }
        }
        """#
}
