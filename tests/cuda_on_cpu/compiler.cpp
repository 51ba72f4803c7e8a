// NVRTC, CUDA's compiler at run time, on the CPU: g++ makes a shared library of a kernel's source, and the bytes of
// that library go by the name of a cubin. CuPy keeps them on disk, as it keeps cubins.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))
using std::string;

struct Program {
    string source, library, log;
    std::vector<string> names;         // of instances of templates, such as kernel<float>
    std::map<string, string> lowered;  // and the functions they become
};

enum { SUCCESS = 0, OUT_OF_ORDER = 4, COMPILATION_FAILED = 6 };

static string without_comments(const string& source) {
    string text;
    for (size_t i = 0; i < source.size(); i++) {
        const char* end = source.compare(i, 2, "//") == 0 ? "\n" : source.compare(i, 2, "/*") == 0 ? "*/" : nullptr;
        if (end) {
            i = source.find(end, i + 2);
            if (i == string::npos) break;
            i += std::strlen(end) - 1;
        }
        text += end ? '\n' : source[i];
    }
    return text;
}

// ENTRY (see kernel.h) for every kernel that the source defines by its name, and every instance that was asked for.
static string entries(Program& program) {
    static const std::regex kernel(
        "(template\\s*<[^;{}]*>\\s*)?(extern\\s+\"C\"\\s+)?__global__\\s+(__launch_bounds__\\s*\\([^)]*\\)\\s*)?"
        "void\\s+"
        "(__launch_bounds__\\s*\\([^)]*\\)\\s*)?(\\w+)\\s*\\(");
    string source = without_comments(program.source), text;
    bool shows_barriers = source.find("__sync") != string::npos || source.find("__shfl") != string::npos;
    string has_barriers = shows_barriers ? "true" : "false";
    std::set<string> names;
    for (std::sregex_iterator match(source.begin(), source.end(), kernel), end; match != end; ++match) {
        if (!(*match)[1].matched) names.insert((*match)[5]);  // a template is no kernel yet
    }
    for (const string& name : names) text += "ENTRY(entry_" + name + ", " + name + ", " + has_barriers + ")\n";
    for (const string& name : program.names) {
        string instance = "instance_" + std::to_string(program.lowered.size());
        program.lowered[name] = instance;
        text += "ENTRY(entry_" + instance + ", (" + name + "), " + has_barriers + ")\n";
    }
    return text;
}

static string contents(const string& path) {
    std::ifstream file(path, std::ios::binary);
    return string(std::istreambuf_iterator<char>(file), {});
}

static bool compile(Program& program, const string& folder, const string& options) {
    static const std::regex dynamic(
        "extern\\s+__shared__\\s+(__align__\\s*\\(\\d+\\)\\s*)?([\\w: ]+?)\\s+(\\w+)\\s*\\[\\s*\\]\\s*;");
    std::ofstream(folder + "/kernel.cpp")
        << std::regex_replace(program.source, dynamic, "$2* $3 = ($2*)dynamic_shared_memory;") << "\n"
        << entries(program);
    string home = std::getenv("CUDA_ON_CPU");
    string command = "g++ " CUDA_ON_CPU_FLAGS " -include '" + home + "/kernel.h'" + options + " '" + folder +
                     "/kernel.cpp' -o '" + folder + "/kernel.so' 2> '" + folder + "/log'";
    bool compiled = std::system(command.c_str()) == 0;
    program.log = contents(folder + "/log");
    program.library = contents(folder + "/kernel.so");
    return compiled;
}

API int nvrtcVersion(int* major, int* minor) { return *major = 13, *minor = 0, SUCCESS; }
API const char* nvrtcGetErrorString(int) { return "NVRTC_ERROR_COMPILATION"; }
API int nvrtcGetNumSupportedArchs(int* count) { return *count = 1, SUCCESS; }
API int nvrtcGetSupportedArchs(int* architectures) { return *architectures = 90, SUCCESS; }

API int nvrtcCreateProgram(Program** program, const char* source, const char*, int, const char**, const char**) {
    return *program = new Program{source, "", "", {}, {}}, SUCCESS;
}
API int nvrtcDestroyProgram(Program** program) { return delete *program, *program = nullptr, SUCCESS; }
API int nvrtcAddNameExpression(Program* program, const char* name) { return program->names.push_back(name), SUCCESS; }
API int nvrtcGetLoweredName(Program* program, const char* name, const char** lowered) {
    return *lowered = program->lowered.at(name).c_str(), SUCCESS;
}

API int nvrtcCompileProgram(Program* program, int count, const char** given) {
    if (program->source.empty()) {  // CuPy reads the version of the compiler in what becomes of an empty program
        return program->library = "// CUDA on the CPU, version 1\n", SUCCESS;
    }
    string options;
    for (int i = 0; i < count; i++) {
        if (string(given[i], 2) == "-I" || string(given[i], 2) == "-D") options += " '" + string(given[i]) + "'";
    }
    char folder[] = "/tmp/cuda_on_cpu_XXXXXX";
    if (!mkdtemp(folder)) return OUT_OF_ORDER;
    bool compiled = compile(*program, folder, options);
    for (const char* file : {"/kernel.cpp", "/kernel.so", "/log"}) unlink((string(folder) + file).c_str());
    rmdir(folder);
    return compiled ? SUCCESS : COMPILATION_FAILED;
}

// A cubin, PTX and the log have one more byte than their text, a zero.
static int size_of(const string& text, size_t* size) { return *size = text.size() + 1, SUCCESS; }
static int copy(const string& text, char* out) { return std::memcpy(out, text.c_str(), text.size() + 1), SUCCESS; }
API int nvrtcGetCUBINSize(Program* program, size_t* size) { return size_of(program->library, size); }
API int nvrtcGetCUBIN(Program* program, char* out) { return copy(program->library, out); }
API int nvrtcGetPTXSize(Program* program, size_t* size) { return size_of(program->library, size); }
API int nvrtcGetPTX(Program* program, char* out) { return copy(program->library, out); }
API int nvrtcGetProgramLogSize(Program* program, size_t* size) { return size_of(program->log, size); }
API int nvrtcGetProgramLog(Program* program, char* out) { return copy(program->log, out); }
