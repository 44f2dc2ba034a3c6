"""The parts of the panel: what the Widget is made of. Imports qt, ctk and slicer, never torch or SimpleITK."""
