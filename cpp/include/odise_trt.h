/* odise_trt.h - open-vocabulary panoptic segmentation: the C interface of libodise_trt
 *
 * SYNOPSIS
 *     #include <odise_trt.h>           cc app.c -lodise_trt
 *
 *     odise_segmenter *segmenter;
 *     odise_result *result;
 *     if (odise_open("engines/demo-openvino-fp32", NULL, &segmenter) != ODISE_OK ||
 *         odise_set_table(segmenter, "tools.npz") != ODISE_OK)
 *         return fprintf(stderr, "%s\n", odise_last_error()), 1;
 *     odise_image image = {sizeof image, pixels, width, height, 0, ODISE_RGB, ODISE_HOST, NULL};
 *     if (odise_segment(segmenter, &image, ODISE_PANOPTIC, NULL, &result) != ODISE_OK) ...
 *     const int32_t *ids = odise_result_panoptic(result);
 *     odise_result_free(result);
 *     odise_close(segmenter);
 *
 * DESCRIPTION
 *     A segmenter is a bundle (docs/bundles.md) with its engines loaded. A vocabulary says what to look for. Each
 *     picture gives a result, which is made of plain memory and does not change.
 *
 * ERRORS
 *     Functions that can fail return an odise_status. If it is not ODISE_OK, nothing is written through the last
 *     pointer but NULL, and odise_last_error() gives the words for the calling thread. They are those of Python's
 *     errors of the same name. No C++ exception leaves the library.
 *
 * THREADS
 *     All functions may be called from any thread. Calls with one segmenter wait for each other: a segmenter runs
 *     one picture at a time, with as many threads as odise_options says. Different segmenters run at the same
 *     time. odise_close must be the last call with its segmenter. Results are read-only and independent: several
 *     threads may read one, and it stays valid after its segmenter was closed.
 *
 * GPUS
 *     Engines of TensorRT and TensorRT for RTX run on a GPU, and all tensors between them stay there. A picture can
 *     lie there already (odise_image.memory), and ids can stay there (odise_request.ids). Calls leave the thread's
 *     current GPU of CUDA as it was.
 *
 * VERSIONS
 *     Structures begin with their size, which the caller sets. Fields are only ever added at their ends, and a
 *     library takes the shorter structures of older headers: a field that they lack has its default. Functions are
 *     never changed or removed while ODISE_ABI_VERSION stays the same.
 */
#ifndef ODISE_TRT_H
#define ODISE_TRT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ODISE_API __attribute__((visibility("default")))
#else
#define ODISE_API
#endif

#define ODISE_ABI_VERSION 1

typedef struct odise_segmenter odise_segmenter;
typedef struct odise_result odise_result;
typedef struct odise_features odise_features;

/* What a call did. The names are those of Python's errors, see odise_status_name. */
typedef enum odise_status {
    ODISE_OK = 0,
    ODISE_ARGUMENT_ERROR = 1,   /* an argument has an invalid value */
    ODISE_IMAGE_ERROR = 2,      /* a picture cannot be segmented: it has no pixels, or too many */
    ODISE_VOCABULARY_ERROR = 3, /* a vocabulary cannot be read, or none is set */
    ODISE_BUNDLE_ERROR = 4,     /* a bundle is missing, altered, of another format, or for another machine */
    ODISE_BACKEND_ERROR = 5,    /* a backend is not there, or an engine failed */
    ODISE_MEMORY_ERROR = 6,     /* there is too little memory, of the host or of the GPU */
    ODISE_INTERNAL_ERROR = 7,   /* a fault of this library: please report it */
    ODISE_FEATURE_ERROR = 8     /* a feature map does not exist, or not at this time step */
} odise_status;

/* Tasks. They can be added: the engines, which take most of the time, run only once. */
enum {
    ODISE_PANOPTIC = 1, /* each pixel in at most one segment */
    ODISE_SEMANTIC = 2, /* each pixel a category */
    ODISE_INSTANCE = 4  /* objects with masks that may overlap */
};

/* Where something is: in the memory of the host, or in that of the GPU that the engines run on. */
typedef enum odise_memory { ODISE_HOST = 0, ODISE_GPU = 1 } odise_memory;

/* Order of the channels of a pixel, one byte each. */
typedef enum odise_format { ODISE_RGB = 0, ODISE_BGR = 1 } odise_format;

/* How a bundle is opened. */
typedef struct odise_options {
    size_t size; /* sizeof(odise_options) */
    /* The library that runs the engines. NULL: the one that the bundle was built for, and no other. "openvino"
     * also runs the ONNX files of a bundle that was built for ONNX Runtime on the CPU, and "onnxruntime_cuda" runs
     * them on a GPU. */
    const char *engine;
    int32_t threads; /* CPU threads. 0: as many as the process may use, in a container its share. */
    /* 0: every file is hashed. 1: only names and sizes are checked. It is for trusted storage. */
    int32_t verify_sizes_only;
    int32_t max_windows; /* windows per run of an engine. 0: as many as are fast; on a GPU as many as it holds. */
    /* 0: on a CPU the library itself computes the steps `cut`, `stitch`, `panoptic`, `semantic` and `instances`,
     * which is faster. 1: the bundle's graphs do. Results are the same but for ties within rounding. */
    int32_t graphs_only;
    int32_t gpu; /* of engines that run on one: its index among those that CUDA sees */
} odise_options;

/* A picture. */
typedef struct odise_image {
    size_t size; /* sizeof(odise_image) */
    const uint8_t *data; /* the first pixel of the first row; 3 bytes for each pixel */
    int32_t width, height;
    int64_t stride; /* bytes from a row to the next, negative if the last row comes first. 0: 3 * width. */
    int32_t format; /* an odise_format */
    /* An odise_memory. ODISE_GPU: `data` is a pointer to memory of the engines' GPU. It is read there, and must not
     * change before the call returns. A picture of another size than the engines take (its shorter side that of the
     * model) needs the stage `resize` in the bundle (odise-trt build --with resize), which gives the pixels that the
     * host gives. BGR takes three more copies within the GPU, and a negative stride one for each row. */
    int32_t memory;
    /* The cudaStream_t in which the pixels are being made: they are read after what it has to do now. The call does
     * not wait for it. NULL: the pixels are there. The default streams are cudaStreamLegacy and
     * cudaStreamPerThread. */
    void *stream;
} odise_image;

/* Thresholds of ODISE_PANOPTIC, and where ids go. Thresholds are from 0 to 1, or negative for those of the model. */
typedef struct odise_request {
    size_t size; /* sizeof(odise_request) */
    double overlap_threshold;     /* least share of its mask that a query must win */
    double object_mask_threshold; /* queries must score more than this */
    int32_t ids; /* an odise_memory. ODISE_GPU: the maps of ODISE_PANOPTIC and ODISE_SEMANTIC stay on the GPU. */
} odise_request;

/* The names of a category for odise_set_words: the one to show, then synonyms, in UTF-8. It has no size: it does
 * not change. */
typedef struct odise_words {
    const char *const *names;
    size_t count;
    int32_t isthing; /* 1: objects are segments of their own. 0: stuff, one segment per picture. */
} odise_words;

/* A category of the vocabulary. */
typedef struct odise_category {
    size_t size; /* sizeof(odise_category) */
    const char *name; /* the name to show, UTF-8. It belongs to the result. */
    int32_t isthing;  /* 1: objects are segments of their own. 0: stuff, one segment per picture. */
} odise_category;

/* A segment of a panoptic result, or an object of an instance result. */
typedef struct odise_region {
    size_t size; /* sizeof(odise_region) */
    int32_t id;  /* of a segment: the value of its pixels, from 1. Of an object: its position, from 1. */
    int32_t category_id; /* index into the vocabulary */
    const char *name;    /* first name of the category, UTF-8. It belongs to the result. */
    int32_t isthing;
    float score; /* 0 to 1 */
    int64_t area; /* pixels */
    int32_t x, y, width, height; /* the smallest box around it, in pixels */
} odise_region;

/* Which feature maps odise_extract_maps gives, as the arguments of Python's Segmenter.features. */
typedef struct odise_maps_request {
    size_t size; /* sizeof(odise_maps_request) */
    /* Raw features: "enc5", "enc7", "dec2", "dec5" of the autoencoder, "un2", "un5", "un8", "un11" of the UNet. They
     * need the stage `raw_features` in the bundle (odise-trt build --with raw_features). The projected pyramid, as the
     * mask head takes it: "s2", "s3", "s4", "s5". NULL: all that the bundle has at this time step. */
    const char *const *names;
    size_t count;       /* of the names */
    int32_t time_step;  /* the diffusion step of raw features, 0 to 999. The pyramid exists at step 0 only. */
    int32_t short_side; /* of the resized picture, in pixels, up to 32768. 0: that of the model. */
    /* The most that the longer side may have, up to 32768. 0: the model's ratio to the shorter side. */
    int32_t max_side;
} odise_maps_request;

/* A feature map: float32 (channels, height, width). A place is `stride` pixels of the resized picture wide and high. */
typedef struct odise_map {
    size_t size; /* sizeof(odise_map) */
    const char *name;  /* "s2". It belongs to the features. */
    const float *data; /* It belongs to the features. */
    int32_t channels, height, width, stride;
} odise_map;

/* The ABI of the library that is linked. A program was built for it if this is ODISE_ABI_VERSION. */
ODISE_API uint32_t odise_abi_version(void);
/* The version of the library, such as "0.1.0". */
ODISE_API const char *odise_version(void);
/* The engines that the library was built with, separated by commas: "openvino,onnxruntime". */
ODISE_API const char *odise_engines(void);

/* "BundleError" for ODISE_BUNDLE_ERROR. */
ODISE_API const char *odise_status_name(odise_status status);
/* The error of the last call of this thread that failed: what is wrong, and on a line of its own what to do.
 * Never NULL. It is valid until the next call of this thread. */
ODISE_API const char *odise_last_error(void);
/* The two parts of it. The hint is "" if there is none. */
ODISE_API const char *odise_last_message(void);
ODISE_API const char *odise_last_hint(void);

/* Checks a bundle and loads its engines. `options` may be NULL.
 * ODISE_BUNDLE_ERROR: the folder is no bundle, files are missing or altered, or it is for another machine.
 * ODISE_BACKEND_ERROR: the library was built without the engine, an engine fails to load, or there is no such GPU.
 * ODISE_MEMORY_ERROR: the GPU has too little memory for the engines. */
ODISE_API odise_status odise_open(const char *folder, const odise_options *options, odise_segmenter **segmenter);
/* Frees a segmenter. NULL is allowed. */
ODISE_API void odise_close(odise_segmenter *segmenter);

/* Sets the vocabulary: a file that `odise-trt vocab WORDS --engines BUNDLE --table FILE` made. Results that are
 * there keep theirs. ODISE_VOCABULARY_ERROR: the file cannot be read, is damaged, or is of another text encoder. */
ODISE_API odise_status odise_set_table(odise_segmenter *segmenter, const char *path);

/* Sets the vocabulary to words, which the bundle's text encoder encodes. The tokens are those of Python. A name may
 * have printable ASCII but "&", and letters of Latin-1 that stand alone (as in French). Others need repairs that only
 * Python makes: odise_set_table. Repeated names of a category are dropped.
 * ODISE_VOCABULARY_ERROR: there are no words, a name is too long for CLIP, or has other characters.
 * ODISE_BACKEND_ERROR: the text encoder failed. */
ODISE_API odise_status odise_set_words(odise_segmenter *segmenter, const odise_words *categories, size_t count);

/* Segments a picture for one or several tasks. `request` may be NULL. The pixels are not read after the call.
 * ODISE_ARGUMENT_ERROR: there is no such task, a threshold is outside 0 to 1, or ids are wanted on a GPU and the
 *     engines run on the host.
 * ODISE_VOCABULARY_ERROR: no vocabulary is set.
 * ODISE_IMAGE_ERROR: the picture has no pixels, or is too large; it is on a GPU, and not on that of the engines, or
 *     the bundle cannot resize it there.
 * ODISE_BACKEND_ERROR: an engine failed, or gave numbers that are not finite.
 * ODISE_MEMORY_ERROR: the GPU has too little memory, however little of the picture runs at once. */
ODISE_API odise_status odise_segment(odise_segmenter *segmenter, const odise_image *image, uint32_t tasks,
                                     const odise_request *request, odise_result **result);
/* Frees a result, and all that it gave. NULL is allowed. */
ODISE_API void odise_result_free(odise_result *result);

/* Size of the picture, and so of all maps and masks of the result. */
ODISE_API int32_t odise_result_width(const odise_result *result);
ODISE_API int32_t odise_result_height(const odise_result *result);

/* (height, width), the id of each pixel's segment, 0: no segment. NULL: ODISE_PANOPTIC was not asked for, or the ids
 * are on the GPU. */
ODISE_API const int32_t *odise_result_panoptic(const odise_result *result);
/* (height, width), each pixel's category. NULL: ODISE_SEMANTIC was not asked for, or the ids are on the GPU. */
ODISE_API const int32_t *odise_result_semantic(const odise_result *result);

/* The same maps as pointers to memory of the GPU, if odise_request.ids was ODISE_GPU; else NULL. They are complete,
 * may be used in any stream, and belong to the result. Freeing it waits for all work of the GPU that is queued. */
ODISE_API const int32_t *odise_result_panoptic_on_gpu(const odise_result *result);
ODISE_API const int32_t *odise_result_semantic_on_gpu(const odise_result *result);

/* What was done otherwise than usual, or "": on a GPU with little free memory fewer windows or rows run at once;
 * or why nothing is recorded as a CUDA graph. The numbers are the same. It belongs to the result. */
ODISE_API const char *odise_result_note(const odise_result *result);

/* Segments, in the order of their ids. */
ODISE_API size_t odise_result_segments(const odise_result *result);
ODISE_API odise_status odise_result_segment(const odise_result *result, size_t index, odise_region *region);
/* Objects, the best first. */
ODISE_API size_t odise_result_instances(const odise_result *result);
ODISE_API odise_status odise_result_instance(const odise_result *result, size_t index, odise_region *region);
/* (height, width), 1 inside of an object and 0 outside. NULL: there is no such object. */
ODISE_API const uint8_t *odise_result_instance_mask(const odise_result *result, size_t index);

/* The vocabulary of the result. */
ODISE_API size_t odise_result_categories(const odise_result *result);
ODISE_API odise_status odise_result_category(const odise_result *result, size_t index, odise_category *category);

/* Feature maps of a picture, for other work: those that the mask head takes, s2 to s5, of the picture that it takes.
 * No vocabulary is needed. On a GPU all tensors stay there up to the maps. Errors are those of odise_segment. */
ODISE_API odise_status odise_extract(odise_segmenter *segmenter, const odise_image *image, odise_features **features);
/* The same with a choice: raw features, at any time step, and pictures of other sizes. No vocabulary is needed.
 * `request` may be NULL: all maps at step 0. The stage `raw_features` is loaded when it is first needed, and kept. The
 * picture runs window by window, as many at once as odise_options.max_windows says, and the host puts the maps
 * together. A picture on a GPU is copied to the host, and resized there.
 * ODISE_FEATURE_ERROR: a map or the time step does not exist, or the pyramid is requested at another step.
 * ODISE_ARGUMENT_ERROR: a side is out of range.
 * ODISE_BUNDLE_ERROR: the bundle lacks the stage `raw_features`. The hint is the command that adds it.
 * ODISE_IMAGE_ERROR: the picture has no pixels, or is too large; it is on a GPU, and not on that of the engines.
 * ODISE_BACKEND_ERROR: an engine cannot be loaded, failed, or gave numbers that are not finite.
 * ODISE_MEMORY_ERROR: the host or the GPU has too little memory. */
ODISE_API odise_status odise_extract_maps(odise_segmenter *segmenter, const odise_image *image,
                                          const odise_maps_request *request, odise_features **features);
/* Size of the resized picture, which the strides of maps count in pixels. */
ODISE_API int32_t odise_features_width(const odise_features *features);
ODISE_API int32_t odise_features_height(const odise_features *features);
/* The maps, in the order in which they were named. */
ODISE_API size_t odise_features_maps(const odise_features *features);
ODISE_API odise_status odise_features_map(const odise_features *features, size_t index, odise_map *map);
/* NULL is allowed. */
ODISE_API void odise_features_free(odise_features *features);

/* Where the time went: wall seconds of each part, in the order they ran. Name and seconds may be NULL. */
ODISE_API size_t odise_result_timings(const odise_result *result);
ODISE_API odise_status odise_result_timing(const odise_result *result, size_t index, const char **name,
                                           double *seconds);

#ifdef __cplusplus
}
#endif

#endif
