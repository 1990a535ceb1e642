# The target `onnxruntime`, from ODISE_ONNXRUNTIME_ROOT: the unpacked archive of a release has include/ and lib/.
find_path(ODISE_ONNXRUNTIME_INCLUDE onnxruntime_c_api.h PATHS "${ODISE_ONNXRUNTIME_ROOT}"
    PATH_SUFFIXES include include/onnxruntime include/onnxruntime/core/session NO_DEFAULT_PATH)
find_library(ODISE_ONNXRUNTIME_LIBRARY onnxruntime PATHS "${ODISE_ONNXRUNTIME_ROOT}" PATH_SUFFIXES lib lib64
    NO_DEFAULT_PATH)
if(NOT ODISE_ONNXRUNTIME_INCLUDE OR NOT ODISE_ONNXRUNTIME_LIBRARY)
    message(FATAL_ERROR "ODISE_ONNXRUNTIME_ROOT=${ODISE_ONNXRUNTIME_ROOT} lacks include/onnxruntime_c_api.h or "
        "lib/libonnxruntime.so: give the unpacked archive of a release, onnxruntime-linux-x64-VERSION.tgz")
endif()
message(STATUS "ONNX Runtime: ${ODISE_ONNXRUNTIME_LIBRARY}")
add_library(onnxruntime SHARED IMPORTED)
set_target_properties(onnxruntime PROPERTIES IMPORTED_LOCATION "${ODISE_ONNXRUNTIME_LIBRARY}")
target_include_directories(onnxruntime SYSTEM INTERFACE "${ODISE_ONNXRUNTIME_INCLUDE}")
