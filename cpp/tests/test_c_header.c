/* A C program: it compiles, links, and gets errors instead of crashes whatever it forgets. */
#include <odise_trt.h>
#include <stdio.h>
#include <string.h>

static int failures = 0;

static void check(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "%s; the last error: %s\n", what, odise_last_error());
        ++failures;
    }
}

int main(void) {
    odise_segmenter *segmenter = (odise_segmenter *)&failures;
    odise_result *result = NULL;
    odise_options options = {sizeof options, "nothing", 0, 0, 0, 0, 0};
    odise_features *features = (odise_features *)&failures;
    odise_maps_request maps = {sizeof maps, NULL, 0, 0, 0, 0};
    odise_region region = {sizeof region, 0, 0, NULL, 0, 0, 0, 0, 0, 0, 0};

    check(odise_abi_version() == ODISE_ABI_VERSION, "the header is that of the library");
    check(strlen(odise_version()) > 0, "it has a version");
    check(strcmp(odise_last_error(), "") == 0, "no error before any call");
    check(strcmp(odise_status_name(ODISE_BUNDLE_ERROR), "BundleError") == 0, "errors have Python's names");

    check(odise_open("/nowhere", &options, &segmenter) == ODISE_BUNDLE_ERROR, "no bundle");
    check(segmenter == NULL, "a segmenter that was not opened is NULL");
    check(strcmp(odise_last_message(), "/nowhere is not a bundle: No such file or directory") == 0, "its words");
    check(strncmp(odise_last_hint(), "build one: ", 11) == 0, "its hint");
    options.size = 3;
    check(odise_open("/nowhere", &options, &segmenter) == ODISE_ARGUMENT_ERROR, "a size that no structure has");
    check(odise_open(NULL, NULL, &segmenter) == ODISE_ARGUMENT_ERROR, "no folder");
    check(odise_open("/nowhere", NULL, NULL) == ODISE_ARGUMENT_ERROR, "no place for the segmenter");

    check(odise_segment(NULL, NULL, ODISE_PANOPTIC, NULL, &result) == ODISE_ARGUMENT_ERROR, "no segmenter");
    check(odise_set_table(NULL, "x") == ODISE_ARGUMENT_ERROR, "no segmenter for a table");
    check(odise_result_segment(NULL, 0, &region) == ODISE_ARGUMENT_ERROR, "no result");
    check(odise_result_panoptic(NULL) == NULL && odise_result_instance_mask(NULL, 0) == NULL, "no maps");
    check(odise_result_segments(NULL) == 0 && odise_result_width(NULL) == 0, "nothing in it");
    check(odise_result_panoptic_on_gpu(NULL) == NULL && odise_result_semantic_on_gpu(NULL) == NULL, "nor on a GPU");
    check(strcmp(odise_result_note(NULL), "") == 0, "nor a note");
    check(odise_extract_maps(NULL, NULL, &maps, &features) == ODISE_ARGUMENT_ERROR && features == NULL, "no maps");
    check(odise_features_maps(NULL) == 0 && odise_features_width(NULL) + odise_features_height(NULL) == 0, "nor sizes");
    check(strcmp(odise_status_name(ODISE_FEATURE_ERROR), "FeatureError") == 0, "the name of a later error");
    odise_features_free(NULL);
    odise_close(NULL);
    odise_result_free(NULL);
    return failures > 0;
}
