"""Everything of TensorRT: engines built, recorded, proven, found again and run on the box that uses them.

    flavour   which TensorRT is here: `tensorrt` 10.x or 11.x, or TensorRT for RTX; one code path serves all
    build     an ONNX file → an engine, with progress, cancelling and errors that name the layer
    layers    what the builder made of the network: precision and fusions as built, read from its own listing
    key       everything an engine depends on; two engines of one key do the same
    record    what stands beside an engine: key, hash of the engine, precision as built, proof
    cache     the folder they lie in, outside of any bundle
    prepare   find an engine for an artifact here, or build it, and say why
    bindings  the dozen CUDA calls that TensorRT needs around it, through cuda-python
    engine    an engine in memory and its contexts: all of TensorRT's calls at run time
    runtime   the runtime: batches, CUDA graphs, streams, memory
    open      from an artifact to a running engine, once the goldens have passed through it

**Threat model.** An engine is a program: TensorRT runs what is in it. So an engine is handed to TensorRT only if the
record beside it was written for exactly this bundle, artifact, TensorRT and GPU, and holds the SHA-256 of the very
bytes that are handed over. That catches accidents and strangers: a truncated copy, an engine of another box, version
or driver, one that was swapped, one that came with a bundle. It does not stop somebody who can write to the cache
folder: that person can write both files. So the folder is made for its owner alone, and one that others own or may
write to is refused. A cache that another machine built (`--compute-capability`) is trusted because the user named its
folder; carry it as you would carry a program.
"""
