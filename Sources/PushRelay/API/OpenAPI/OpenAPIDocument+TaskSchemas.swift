// What programs send and get.

extension OpenAPIDocument {
    static let taskSchemas = #"""
        {
          "Message": {
            "type": "object",
            "properties": {
              "to": {
                "description": "Whom it is for, 1000 in all at most; who is in several is \#
        told once.",
                "oneOf": [
                  {
                    "type": "object",
                    "properties": {"all": {"const": true}},
                    "required": ["all"],
                    "additionalProperties": false
                  },
                  {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": false,
                    "properties": {
                      "users": {
                        "type": "array",
                        "items": {"type": "string", "minLength": 1, "maxLength": 1023},
                        "minItems": 1,
                        "maxItems": 1000,
                        "description": "Addresses of users: all of their devices and own \#
        targets."
                      },
                      "devices": {
                        "type": "array",
                        "items": {
                          "type": "object",
                          "properties": {
                            "user": {"type": "string", "minLength": 1, "maxLength": 1023},
                            "device": {
                              "type": "string",
                              "pattern": "^[A-Za-z0-9._:-]{1,64}$"
                            }
                          },
                          "required": ["user", "device"],
                          "additionalProperties": false
                        },
                        "minItems": 1,
                        "maxItems": 1000,
                        "description": "Devices of users."
                      },
                      "tags": {
                        "type": "array",
                        "items": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,64}$"},
                        "minItems": 1,
                        "maxItems": 1000,
                        "description": "All devices with one of these tags."
                      },
                      "aliases": {
                        "type": "array",
                        "items": {"type": "string", "pattern": "^[!-~]{1,128}$"},
                        "minItems": 1,
                        "maxItems": 1000,
                        "description": "All devices of the user that has this alias."
                      }
                    }
                  }
                ]
              },
              "title": {"type": "string", "minLength": 1, "maxLength": 256},
              "text": {
                "type": "string",
                "minLength": 1,
                "maxLength": 4000,
                "description": "Each provider takes as much of it as fits."
              },
              "data": {
                "type": "object",
                "minProperties": 1,
                "description": "For the app; 2048 bytes at most. Without a title and a text \#
        it is not shown: services that only show do not take it."
              },
              "badge": {
                "oneOf": [
                  {"type": "integer", "minimum": 0, "maximum": 99999},
                  {"type": "string", "pattern": "^[+-][0-9]{1,5}$"}
                ],
                "description": "What the app's icon shows: a number, or so many more."
              },
              "collapse_key": {
                "type": "string",
                "pattern": "^[!-~]{1,128}$",
                "description": "A later one with the same takes the place of this one on the \#
        device."
              },
              "ttl": {
                "type": "integer",
                "minimum": 0,
                "maximum": 2419200,
                "description": "Seconds for which it is of use; 0 is now or never. Default: \#
        `push.lifetime`."
              },
              "priority": {"enum": ["high", "normal"], "default": "high"},
              "vendor": {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                  "apns": {"type": "object"},
                  "fcm": {"type": "object"},
                  "huawei": {"type": "object"},
                  "honor": {"type": "object"},
                  "xiaomi": {"type": "object"},
                  "oppo": {"type": "object"},
                  "vivo": {"type": "object"},
                  "meizu": {"type": "object"},
                  "ntfy": {"type": "object"},
                  "gotify": {"type": "object"}
                },
                "description": "What only one service knows, as its documentation names it; \#
        merged into what that is sent. 2048 bytes each at most."
              },
              "dedupe_key": {
                "type": "string",
                "pattern": "^[!-~]{1,128}$",
                "description": "A second request of this token with the same key is not sent, \#
        for a week."
              }
            },
            "required": ["to"],
            "anyOf": [
              {"required": ["title"]},
              {"required": ["text"]},
              {"required": ["data"]},
              {"required": ["badge"]}
            ],
            "additionalProperties": false
          },
          "Counts": {
            "type": "object",
            "properties": {
              "targets": {
                "type": "integer",
                "minimum": 0,
                "description": "Whom it is for, as far as that is known."
              },
              "waiting": {
                "type": "integer",
                "minimum": 0,
                "description": "Still to be sent."
              },
              "sent": {
                "type": "integer",
                "minimum": 0,
                "description": "A provider has taken it."
              },
              "reached": {
                "type": "integer",
                "minimum": 0,
                "description": "The app took it over its own connection."
              },
              "failed": {"type": "integer", "minimum": 0, "description": "Given up."},
              "dropped": {
                "type": "integer",
                "minimum": 0,
                "description": "The device or the task is gone."
              },
              "delivered": {
                "type": "integer",
                "minimum": 0,
                "description": "The provider said that the device has it."
              }
            },
            "required": [
              "targets", "waiting", "sent", "reached", "failed", "dropped", "delivered"
            ],
            "additionalProperties": false
          },
          "ProviderCounts": {
            "type": "object",
            "properties": {
              "targets": {
                "type": "integer",
                "minimum": 0,
                "description": "Whom it is for, as far as that is known."
              },
              "waiting": {
                "type": "integer",
                "minimum": 0,
                "description": "Still to be sent."
              },
              "sent": {
                "type": "integer",
                "minimum": 0,
                "description": "A provider has taken it."
              },
              "reached": {
                "type": "integer",
                "minimum": 0,
                "description": "The app took it over its own connection."
              },
              "failed": {"type": "integer", "minimum": 0, "description": "Given up."},
              "dropped": {
                "type": "integer",
                "minimum": 0,
                "description": "The device or the task is gone."
              },
              "delivered": {
                "type": "integer",
                "minimum": 0,
                "description": "The provider said that the device has it."
              },
              "passed_on": {
                "type": "integer",
                "minimum": 0,
                "description": "The device's next token was tried."
              }
            },
            "required": [
              "targets", "waiting", "sent", "reached", "failed", "dropped", "delivered",
              "passed_on"
            ],
            "additionalProperties": false
          },
          "Task": {
            "type": "object",
            "properties": {
              "id": {"type": "string"},
              "state": {
                "enum": ["preparing", "sending", "done", "cancelled"],
                "description": "preparing: not all are looked up for whom it is."
              },
              "created": {"type": "string", "format": "date-time"},
              "expires": {"type": "string", "format": "date-time"},
              "cancelled": {"type": "string", "format": "date-time"},
              "counts": {"$ref": "#/components/schemas/Counts"},
              "providers": {
                "type": "object",
                "additionalProperties": {"$ref": "#/components/schemas/ProviderCounts"}
              }
            },
            "required": ["id", "state", "created", "expires", "counts", "providers"],
            "additionalProperties": false
          },
          "TakenTask": {
            "type": "object",
            "properties": {
              "id": {"type": "string"},
              "state": {
                "enum": ["preparing", "sending", "done", "cancelled"],
                "description": "preparing: not all are looked up for whom it is."
              },
              "created": {"type": "string", "format": "date-time"},
              "expires": {"type": "string", "format": "date-time"},
              "cancelled": {"type": "string", "format": "date-time"},
              "counts": {"$ref": "#/components/schemas/Counts"},
              "providers": {
                "type": "object",
                "additionalProperties": {"$ref": "#/components/schemas/ProviderCounts"}
              },
              "unreached": {
                "type": "object",
                "properties": {
                  "users": {"type": "array", "items": {"type": "string"}},
                  "devices": {
                    "type": "array",
                    "items": {
                      "type": "object",
                      "properties": {
                        "user": {"type": "string"},
                        "device": {"type": "string"}
                      },
                      "required": ["user", "device"],
                      "additionalProperties": false
                    }
                  },
                  "tags": {"type": "array", "items": {"type": "string"}},
                  "aliases": {"type": "array", "items": {"type": "string"}}
                },
                "required": [],
                "additionalProperties": false,
                "description": "Those of the request that lead to no device or target."
              }
            },
            "required": ["id", "state", "created", "expires", "counts", "providers"],
            "additionalProperties": false
          },
          "Targets": {
            "type": "object",
            "properties": {
              "targets": {
                "type": "array",
                "items": {
                  "type": "object",
                  "properties": {
                    "target": {"type": "string"},
                    "state": {"enum": ["waiting", "sent", "reached", "failed", "dropped"]},
                    "user": {"type": "string"},
                    "device": {"type": "string"},
                    "provider": {
                      "enum": [
                        "apns", "fcm", "web_push", "unified_push", "ntfy", "gotify",
                        "huawei", "honor", "xiaomi", "oppo", "vivo", "meizu", "connection"
                      ],
                      "description": "Who delivers, or has delivered."
                    },
                    "app": {"type": "string"},
                    "reason": {"type": "string"},
                    "code": {"type": "string", "description": "The provider's own word."},
                    "ended": {"type": "string", "format": "date-time"},
                    "delivered": {"type": "string", "format": "date-time"}
                  },
                  "required": ["target", "state"],
                  "additionalProperties": false
                }
              },
              "next": {"type": "string"}
            },
            "required": ["targets"],
            "additionalProperties": false
          }
        }
        """#
}
