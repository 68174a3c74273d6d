// What apps send and get, and what problems are.

extension OpenAPIDocument {
    static let deviceSchemas = #"""
        {
          "Registration": {
            "type": "object",
            "properties": {
              "tokens": {
                "type": "array",
                "items": {
                  "type": "object",
                  "properties": {
                    "provider": {
                      "enum": [
                        "apns", "fcm", "web_push", "unified_push", "ntfy", "gotify",
                        "huawei", "honor", "xiaomi", "oppo", "vivo", "meizu"
                      ]
                    },
                    "app": {
                      "type": "string",
                      "minLength": 1,
                      "maxLength": 64,
                      "description": "Of `push.apps`; where it is missing, the provider's \#
        default."
                    },
                    "token": {"type": "string", "minLength": 1, "maxLength": 4096},
                    "parameters": {
                      "type": "object",
                      "properties": {
                        "auth": {"type": "string", "minLength": 1, "maxLength": 512},
                        "environment": {"type": "string", "minLength": 1, "maxLength": 512},
                        "p256dh": {"type": "string", "minLength": 1, "maxLength": 512},
                        "secret": {"type": "string", "minLength": 1, "maxLength": 512},
                        "voip_token": {"type": "string", "minLength": 1, "maxLength": 512}
                      },
                      "required": [],
                      "additionalProperties": false,
                      "description": "What belongs to the token: `p256dh` and `auth` of Web \#
        Push, `environment` and `voip_token` of APNs, `secret` of ntfy and Gotify."
                    }
                  },
                  "required": ["provider", "token"],
                  "additionalProperties": false
                },
                "minItems": 1,
                "maxItems": 8,
                "description": "In the order in which they are to be tried."
              },
              "resource": {
                "type": "string",
                "minLength": 1,
                "maxLength": 1023,
                "description": "The resource that the app binds: while it is connected, \#
        nothing is sent to its tokens."
              },
              "alias": {
                "type": "string",
                "pattern": "^[!-~]{1,128}$",
                "description": "Another name for the user, in other programs; the first who \#
        has it keeps it."
              },
              "tags": {
                "type": "array",
                "items": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,64}$"},
                "minItems": 0,
                "maxItems": 100,
                "description": "What the device is to be reached by. Every user can give \#
        himself any."
              },
              "badge": {
                "type": "integer",
                "minimum": 0,
                "maximum": 99999,
                "default": 0,
                "description": "What the icon shows now."
              }
            },
            "required": ["tokens"],
            "additionalProperties": false
          },
          "Device": {
            "type": "object",
            "properties": {
              "user": {"type": "string"},
              "device": {"type": "string"},
              "alias": {"type": "string"},
              "tags": {"type": "array", "items": {"type": "string"}},
              "badge": {"type": "integer", "minimum": 0},
              "resource": {"type": "string"},
              "registered": {"type": "string", "format": "date-time"},
              "refreshed": {"type": "string", "format": "date-time"},
              "woken_by": {
                "enum": [
                  "apns", "fcm", "web_push", "unified_push", "ntfy", "gotify", "huawei",
                  "honor", "xiaomi", "oppo", "vivo", "meizu", "connection"
                ],
                "description": "Who reached it last."
              },
              "woken": {"type": "string", "format": "date-time"},
              "tokens": {
                "type": "array",
                "items": {
                  "type": "object",
                  "properties": {
                    "target": {"type": "string"},
                    "provider": {
                      "enum": [
                        "apns", "fcm", "web_push", "unified_push", "ntfy", "gotify",
                        "huawei", "honor", "xiaomi", "oppo", "vivo", "meizu"
                      ]
                    },
                    "app": {"type": "string"},
                    "state": {"enum": ["enabled", "disabled"]},
                    "reason": {"type": "string"},
                    "code": {"type": "string"},
                    "sent": {"type": "string", "format": "date-time"}
                  },
                  "required": ["target", "provider", "state"],
                  "additionalProperties": false
                }
              }
            },
            "required": [
              "user", "device", "tags", "badge", "registered", "refreshed", "tokens"
            ],
            "additionalProperties": false
          },
          "Devices": {
            "type": "object",
            "properties": {
              "devices": {"type": "array", "items": {"$ref": "#/components/schemas/Device"}},
              "next": {"type": "string"}
            },
            "required": ["devices"],
            "additionalProperties": false
          },
          "Registrations": {
            "type": "object",
            "properties": {
              "devices": {"type": "array", "items": {"$ref": "#/components/schemas/Device"}}
            },
            "required": ["devices"],
            "additionalProperties": false
          },
          "Apps": {
            "type": "object",
            "properties": {
              "apps": {
                "type": "array",
                "items": {
                  "type": "object",
                  "properties": {
                    "provider": {
                      "enum": [
                        "apns", "fcm", "web_push", "unified_push", "ntfy", "gotify",
                        "huawei", "honor", "xiaomi", "oppo", "vivo", "meizu"
                      ]
                    },
                    "app": {"type": "string"},
                    "default": {"type": "boolean"}
                  },
                  "required": ["provider", "app", "default"],
                  "additionalProperties": false
                }
              },
              "web_push_key": {
                "type": "string",
                "description": "`applicationServerKey` for Web Push without an app."
              }
            },
            "required": ["apps", "web_push_key"],
            "additionalProperties": false
          },
          "Problem": {
            "type": "object",
            "description": "RFC 9457.",
            "properties": {
              "type": {"type": "string"},
              "title": {"type": "string"},
              "status": {"type": "integer"},
              "detail": {"type": "string"},
              "errors": {
                "type": "array",
                "items": {
                  "type": "object",
                  "properties": {
                    "pointer": {"type": "string", "description": "RFC 6901"},
                    "detail": {"type": "string"}
                  },
                  "required": ["pointer", "detail"],
                  "additionalProperties": false
                }
              }
            },
            "required": ["type", "title", "status"]
          }
        }
        """#
}
