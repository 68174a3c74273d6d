// The part of libunistring and libidn2 that Kinglet uses, for the target Addresses alone.

#pragma once

#include <idn2.h>
#include <unicase.h>
#include <unictype.h>
#include <uninorm.h>
#include <unistr.h>

// UNINORM_NFC is a macro for the address of a structure whose type is not public.
static inline uninorm_t cunicode_nfc(void) { return UNINORM_NFC; }

// UNINORM_NFKC: as above.
static inline uninorm_t cunicode_nfkc(void) { return UNINORM_NFKC; }
