// Pictures are read and decoded on libuv's threads: one a core, and some for files. Their number is read when the first of them starts, which Node does to load an ES module;
// so it is set here, before there is any: bin/graft.cjs requires this file, container images name it in NODE_OPTIONS.
process.env.UV_THREADPOOL_SIZE ??= String(require("node:os").availableParallelism() + 4);
