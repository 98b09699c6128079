#include "flat.h"

#ifdef FLAT_WIDE
#pragma GCC target("avx512f,avx512bw,avx512vl,bmi,bmi2")
#define FLAT_WIDTH 64
#define FLAT_SCAN flat_scan64
#include "flat_rows.h"
#endif
