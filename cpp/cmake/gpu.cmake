# Engines on NVIDIA GPUs: built in where CUDA's and their headers are found, and said to be missing where they are not.
# Only headers are needed to build. The libraries of the engines are loaded when a bundle asks for them.
set(ODISE_CUDA_ROOT "" CACHE PATH "CUDA's headers and runtime: a folder with include/cuda_runtime_api.h")
set(ODISE_TRT_TENSORRT_ROOT "" CACHE PATH "TensorRT 10.13 or newer: a folder with include/NvInferRuntime.h")
set(ODISE_TRT_TENSORRT_RTX_ROOT "" CACHE PATH "TensorRT for RTX: a folder with include/NvInferRuntime.h")

find_path(ODISE_CUDA_INCLUDE cuda_runtime_api.h HINTS ${ODISE_CUDA_ROOT} /usr/local/cuda PATH_SUFFIXES include)
# The static one is preferred: it finds the driver when a GPU is opened, so the library loads on machines without.
find_library(ODISE_CUDART NAMES libcudart_static.a cudart
    HINTS ${ODISE_CUDA_ROOT} /usr/local/cuda PATH_SUFFIXES lib64 lib lib/x64)
find_path(ODISE_TENSORRT_INCLUDE NvInferRuntime.h HINTS ${ODISE_TRT_TENSORRT_ROOT} PATH_SUFFIXES include)
# The headers of both have the same names: those of RTX are only taken from where they are said to be.
if(ODISE_TRT_TENSORRT_RTX_ROOT)
    find_path(ODISE_TENSORRT_RTX_INCLUDE NvInferRuntime.h HINTS ${ODISE_TRT_TENSORRT_RTX_ROOT} PATH_SUFFIXES include
        NO_DEFAULT_PATH)
endif()

# Sets `out` to "10.13.0" as the headers in a folder say it, by the names of a flavour; to "" if they are another's.
function(odise_nvinfer_version include flavour out)
    set(${out} "" PARENT_SCOPE)
    file(READ ${include}/NvInferVersion.h content)
    set(version "")
    foreach(part MAJOR MINOR PATCH)
        if(NOT content MATCHES "define TRT_${part}_${flavour} +([0-9]+)")
            return()
        endif()
        list(APPEND version ${CMAKE_MATCH_1})
    endforeach()
    list(JOIN version "." version)
    set(${out} ${version} PARENT_SCOPE)
endfunction()

# CUDA as a device. `name`: of the engine that it is for. Sets `out` to whether CUDA is there.
function(odise_add_cuda target name out)
    if(NOT ODISE_CUDA_INCLUDE OR NOT ODISE_CUDART)
        message(STATUS "${name}: not built in, CUDA was not found (-DODISE_CUDA_ROOT=FOLDER)")
        set(${out} FALSE PARENT_SCOPE)
        return()
    endif()
    target_sources(${target} PRIVATE src/device/cuda.cpp)
    set_source_files_properties(src/device/cuda.cpp PROPERTIES COMPILE_OPTIONS "-isystem;${ODISE_CUDA_INCLUDE}")
    target_link_libraries(${target} PUBLIC ${ODISE_CUDART} ${CMAKE_DL_LIBS} $<$<PLATFORM_ID:Linux>:rt>)
    set(${out} TRUE PARENT_SCOPE)
endfunction()

function(odise_add_nvinfer_engine target name flavour oldest include option)
    if(NOT include)
        message(STATUS "${name}: not built in, its headers were not found (-D${option}=FOLDER)")
        return()
    endif()
    odise_nvinfer_version(${include} ${flavour} version)
    if(version STREQUAL "" OR version VERSION_LESS oldest)
        message(FATAL_ERROR "${name}: the headers in ${include} are of another product, or older than ${oldest}")
    endif()
    # Engines without weights get them from the parser. Releases have its header here, Debian in a package of its own.
    if(NOT EXISTS ${include}/NvOnnxParser.h)
        message(FATAL_ERROR "${name}: ${include} has NvInferRuntime.h, but no NvOnnxParser.h: give the folder of a "
            "release, or install libnvonnxparsers-dev")
    endif()
    odise_add_cuda(${target} ${name} found)
    if(NOT found)
        return()
    endif()
    message(STATUS "${name}: built in, headers of ${version} in ${include}")
    string(TOUPPER ${name} macro)
    target_sources(${target} PRIVATE src/engines/${name}.cpp)
    # Each flavour finds its own headers: their names are the same.
    set_source_files_properties(src/engines/${name}.cpp PROPERTIES
        COMPILE_OPTIONS "-isystem;${include};-isystem;${ODISE_CUDA_INCLUDE}")
    target_compile_definitions(${target} PRIVATE ODISE_WITH_${macro})
endfunction()

# ONNX Runtime finds its provider for CUDA when a bundle asks for it: its headers are those for the CPU.
function(odise_add_onnxruntime_cuda target)
    if(NOT TARGET onnxruntime)
        message(STATUS "onnxruntime_cuda: not built in, ONNX Runtime was not given (-DODISE_ONNXRUNTIME_ROOT=FOLDER)")
        return()
    endif()
    odise_add_cuda(${target} onnxruntime_cuda found)
    if(NOT found)
        return()
    endif()
    message(STATUS "onnxruntime_cuda: built in")
    target_sources(${target} PRIVATE src/engines/onnxruntime_cuda.cpp)
    target_compile_definitions(${target} PRIVATE ODISE_WITH_ONNXRUNTIME_CUDA)
endfunction()

function(odise_add_gpu_engines target)
    odise_add_onnxruntime_cuda(${target})
    odise_add_nvinfer_engine(${target} tensorrt ENTERPRISE 10.13 "${ODISE_TENSORRT_INCLUDE}" ODISE_TRT_TENSORRT_ROOT)
    odise_add_nvinfer_engine(${target} tensorrt_rtx RTX 1.0 "${ODISE_TENSORRT_RTX_INCLUDE}" ODISE_TRT_TENSORRT_RTX_ROOT)
endfunction()
