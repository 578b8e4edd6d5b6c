/* TARGET("avx2,fma") lets the functions that follow use those instructions; TARGET_END ends that. */
#define PRAGMA(x) _Pragma(#x)
#if defined(__clang__)
#define TARGET(list) PRAGMA(clang attribute push(__attribute__((target(list))), apply_to = function))
#define TARGET_END PRAGMA(clang attribute pop)
#else
#define TARGET(list) PRAGMA(GCC push_options) PRAGMA(GCC target(list))
#define TARGET_END PRAGMA(GCC pop_options)
#endif
