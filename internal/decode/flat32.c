#include "flat.h"

#ifdef FLAT_WIDE
#pragma GCC target("avx2,bmi,bmi2")
#define FLAT_WIDTH 32
#define FLAT_SCAN flat_scan32
#include "flat_rows.h"
#endif
