# Stands in for an installation of Slicer when the extension is configured and installed by the tests: as much of its
# macros as this extension calls, with their behaviour on install. `Slicer_DIR` of a real build tree replaces it.

set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/Nothing.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/Nothing.cmake")
