#define FLAT_WIDTH 16
#define FLAT_SCAN flat_scan16
#include "flat_rows.h"
