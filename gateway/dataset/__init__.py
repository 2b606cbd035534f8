"""The data set as bytes: elements, Part 10 files, headers, changes of encoding (PS3.5, PS3.10).

Everything here works over buffers (bytes, memoryview, mmap) and copies no value it need not.
Foreign bytes are believed in nothing: every length is held against what is left of the buffer
before it is used, and ``MalformedDataSet`` names the offset and the tag of what does not fit.
"""
