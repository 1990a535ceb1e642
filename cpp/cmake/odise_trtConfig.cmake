# The library needs nothing of whoever links it: its engines are its own affair.
include("${CMAKE_CURRENT_LIST_DIR}/odise_trtTargets.cmake")
