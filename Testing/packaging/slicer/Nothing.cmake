# What Slicer does here (extension description, CPack) needs Slicer itself.
