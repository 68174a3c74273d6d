// libcurl for Swift: wrappers for its variadic functions, which Swift cannot call.

#pragma once

#include <curl/curl.h>
