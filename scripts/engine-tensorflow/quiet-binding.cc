// The module that tfjs-node loads. It loads the package's own binding, and TensorFlow with it, while nothing goes to standard error: TensorFlow prints a notice from a static initialiser,
// before it has read TF_CPP_MIN_LOG_LEVEL, and it would stand in the middle of a progress bar. What fails is thrown.
#include <dlfcn.h>
#include <fcntl.h>
#include <node_api.h>
#include <unistd.h>

#include <string>

namespace {

class QuietStandardError {
 public:
  QuietStandardError() : kept_(dup(STDERR_FILENO)) {
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (kept_ >= 0 && nowhere >= 0) dup2(nowhere, STDERR_FILENO);
    if (nowhere >= 0) close(nowhere);
  }
  ~QuietStandardError() {
    if (kept_ < 0) return;
    dup2(kept_, STDERR_FILENO);
    close(kept_);
  }

 private:
  const int kept_;
};

/// `name` in the folder of this module.
std::string Beside(const char* name) {
  Dl_info here;
  dladdr(reinterpret_cast<void*>(&Beside), &here);
  const std::string path = here.dli_fname;
  return path.substr(0, path.rfind('/') + 1) + name;
}

void* Load() {
  const QuietStandardError quiet;
  return dlopen(Beside("tfjs_binding_tensorflow.so").c_str(), RTLD_NOW | RTLD_LOCAL);
}

}  // namespace

NAPI_MODULE_INIT() {
  void* library = Load();
  void* init = library == nullptr ? nullptr : dlsym(library, "napi_register_module_v1");
  if (init == nullptr) {
    napi_throw_error(env, nullptr, dlerror());
    return nullptr;
  }
  return reinterpret_cast<napi_value (*)(napi_env, napi_value)>(init)(env, exports);
}
