// The paths for programs.

extension OpenAPIDocument {
    static let tasks = #"""
        {
          "/api/openapi.json": {
            "get": {
              "operationId": "showDocument",
              "tags": ["document"],
              "summary": "This document",
              "security": [],
              "responses": {
                "200": {
                  "description": "OpenAPI 3.1",
                  "content": {"application/json": {"schema": {"type": "object"}}}
                }
              }
            }
          },
          "/api/v1/tasks": {
            "post": {
              "operationId": "makeTask",
              "tags": ["tasks"],
              "summary": "Tell something",
              "description": "Scope `send`; to all, scope `broadcast`. It is durable when it \#
        is answered; what is sent is tried until `ttl` is over. Of a device's tokens the \#
        first is tried, then the next; an app that is connected has it over its connection.",
              "security": [{"token": []}],
              "requestBody": {
                "required": true,
                "content": {
                  "application/json": {"schema": {"$ref": "#/components/schemas/Message"}}
                }
              },
              "responses": {
                "200": {
                  "description": "The same was asked for before with this dedupe key: this is \#
        that task.",
                  "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Task"}}
                  },
                  "headers": {
                    "Location": {"description": "Where it is.", "schema": {"type": "string"}}
                  }
                },
                "202": {
                  "description": "It is taken.",
                  "links": {
                    "task": {
                      "operationId": "showTask",
                      "parameters": {"task": "$response.body#/id"}
                    },
                    "targets": {
                      "operationId": "showTargets",
                      "parameters": {"task": "$response.body#/id"}
                    },
                    "cancelling": {
                      "operationId": "cancelTask",
                      "parameters": {"task": "$response.body#/id"}
                    }
                  },
                  "content": {
                    "application/json": {
                      "schema": {"$ref": "#/components/schemas/TakenTask"}
                    }
                  },
                  "headers": {
                    "Location": {"description": "Where it is.", "schema": {"type": "string"}}
                  }
                },
                "403": {"$ref": "#/components/responses/Forbidden"},
                "404": {"$ref": "#/components/responses/Nobody"},
                "409": {"$ref": "#/components/responses/Conflict"},
                "415": {"$ref": "#/components/responses/UnsupportedType"},
                "422": {"$ref": "#/components/responses/Invalid"}
              }
            }
          },
          "/api/v1/tasks/{task}": {
            "get": {
              "operationId": "showTask",
              "tags": ["tasks"],
              "summary": "What became of a task",
              "security": [{"token": []}],
              "parameters": [
                {
                  "name": "task",
                  "in": "path",
                  "required": true,
                  "description": "The number of a task of this token's.",
                  "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"}
                }
              ],
              "responses": {
                "200": {
                  "description": "The task. It is remembered for a week.",
                  "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Task"}}
                  }
                },
                "404": {"$ref": "#/components/responses/NotFound"}
              }
            },
            "delete": {
              "operationId": "cancelTask",
              "tags": ["tasks"],
              "summary": "Send nothing more of a task",
              "description": "What is under way may still arrive.",
              "security": [{"token": []}],
              "parameters": [
                {
                  "name": "task",
                  "in": "path",
                  "required": true,
                  "description": "The number of a task of this token's.",
                  "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"}
                }
              ],
              "responses": {
                "200": {
                  "description": "The task.",
                  "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Task"}}
                  }
                },
                "404": {"$ref": "#/components/responses/NotFound"}
              }
            }
          },
          "/api/v1/tasks/{task}/targets": {
            "get": {
              "operationId": "showTargets",
              "tags": ["tasks"],
              "summary": "What became of a task for each target",
              "security": [{"token": []}],
              "parameters": [
                {
                  "name": "task",
                  "in": "path",
                  "required": true,
                  "description": "The number of a task of this token's.",
                  "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"}
                },
                {
                  "name": "after",
                  "in": "query",
                  "description": "`next` of the answer before.",
                  "schema": {
                    "type": "integer",
                    "minimum": 0,
                    "maximum": 9007199254740991,
                    "default": 0
                  }
                },
                {
                  "name": "limit",
                  "in": "query",
                  "description": "So many at most.",
                  "schema": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 1000,
                    "default": 100
                  }
                }
              ],
              "responses": {
                "200": {
                  "description": "Some of the targets.",
                  "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Targets"}}
                  }
                },
                "404": {"$ref": "#/components/responses/NotFound"}
              }
            }
          },
          "/api/v1/devices": {
            "get": {
              "operationId": "showDevices",
              "tags": ["tasks"],
              "summary": "The devices that apps have registered",
              "description": "Scope `devices`.",
              "security": [{"token": []}],
              "parameters": [
                {
                  "name": "user",
                  "in": "query",
                  "description": "Only those of this user.",
                  "schema": {"type": "string", "minLength": 1, "maxLength": 1023}
                },
                {
                  "name": "tag",
                  "in": "query",
                  "description": "Only those with this tag.",
                  "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,64}$"}
                },
                {
                  "name": "alias",
                  "in": "query",
                  "description": "Only those with this alias.",
                  "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"}
                },
                {
                  "name": "after",
                  "in": "query",
                  "description": "`next` of the answer before.",
                  "schema": {
                    "type": "integer",
                    "minimum": 0,
                    "maximum": 9007199254740991,
                    "default": 0
                  }
                },
                {
                  "name": "limit",
                  "in": "query",
                  "description": "So many at most.",
                  "schema": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 1000,
                    "default": 100
                  }
                }
              ],
              "responses": {
                "200": {
                  "description": "Some of the devices.",
                  "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Devices"}}
                  }
                },
                "403": {"$ref": "#/components/responses/Forbidden"}
              }
            }
          }
        }
        """#
}
