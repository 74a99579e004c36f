// Found by gotorch's sources in place of libtorch's.
#include "../headers.h"
