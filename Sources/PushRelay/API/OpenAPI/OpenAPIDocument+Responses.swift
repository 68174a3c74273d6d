// Errors (RFC 9457), the same for all paths.

extension OpenAPIDocument {
    static let responses = #"""
        {
          "Malformed": {
            "description": "The request cannot be read: no JSON, or a query with something \#
        else in it.",
            "content": {
              "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"}
              }
            }
          },
          "Unauthorized": {
            "description": "There is no credential, or it is not good (any more).",
            "content": {
              "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"}
              }
            },
            "headers": {
              "WWW-Authenticate": {
                "description": "What is wanted.",
                "schema": {"type": "string"}
              }
            }
          },
          "Forbidden": {
            "description": "The credential does not allow this.",
            "content": {
              "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"}
              }
            }
          },
          "NotFound": {
            "description": "There is no such thing, or it is somebody else's.",
            "content": {
              "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"}
              }
            }
          },
          "Nobody": {
            "description": "None of those that it is for has a device or target that can show \#
        it.",
            "content": {
              "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"}
              }
            }
          },
          "Conflict": {
            "description": "It is taken: the dedupe key for another task, the alias by \#
        another user; or there are too many devices already.",
            "content": {
              "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"}
              }
            }
          },
          "TooLarge": {
            "description": "The body is too large.",
            "content": {
              "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"}
              }
            }
          },
          "TooLong": {
            "description": "The path, the query or the headers are too long.",
            "content": {
              "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            }
          },
          "UnsupportedType": {
            "description": "The body is not application/json.",
            "content": {
              "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"}
              }
            }
          },
          "Invalid": {
            "description": "The body is JSON, but says something that is not possible; \#
        `errors` tells what and where.",
            "content": {
              "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"}
              }
            }
          },
          "Rate": {
            "description": "Too many requests.",
            "content": {
              "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"}
              }
            },
            "headers": {
              "Retry-After": {
                "description": "Seconds after which it may work.",
                "schema": {"type": "integer", "minimum": 1}
              }
            }
          },
          "Unavailable": {
            "description": "It cannot be stored or read at the moment, or too much waits.",
            "content": {
              "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"}
              }
            },
            "headers": {
              "Retry-After": {
                "description": "Seconds after which it may work.",
                "schema": {"type": "integer", "minimum": 1}
              }
            }
          }
        }
        """#
}
