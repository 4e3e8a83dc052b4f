/* A driver for fuzz entries where there is no libFuzzer: replays a corpus, then runs seeded random
 * mutations of it.
 *
 *   replay [--mutations N] [--seconds S] [--seed X] FILE|DIRECTORY...
 *
 * Same seed, same corpus, same inputs. With --seconds it goes on until the time is over. An input
 * that breaks a property or a sanitizer's rule is saved as ./crash-input; run `replay crash-input`
 * to see it again. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <sanitizer/common_interface_defs.h>

#include "property.h"

enum { CORPUS_MAX = 4096, INPUT_MAX = 2 << 20, MUTANT_MAX = 64 << 10, STEPS_MAX = 6 };

typedef struct input {
    uint8_t *bytes;
    size_t size;
} input;

static input corpus[CORPUS_MAX];
static size_t corpus_size;
static input current;
static uint64_t random_state;

static void save_current(void) {
    int fd = open("crash-input", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd >= 0) {
        ssize_t written = write(fd, current.bytes, current.size);
        fprintf(stderr, "crash-input: %zd of %zu bytes\n", written, current.size);
        close(fd);
    }
}

/* The hook that UBSan's runtime looks for: its findings must end in SIGABRT too, for only then is
   the input saved. */
const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void) { return "abort_on_error=1:print_stacktrace=1"; }

static void on_abort(int number) {
    save_current();
    signal(number, SIG_DFL);
    raise(number);
}

static void fail(const char *path) {
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    exit(2);
}

static uint64_t next_random(void) { /* xorshift64* */
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 2685821657736338717ULL;
}

static size_t below(size_t bound) { return bound == 0 ? 0 : (size_t)(next_random() >> 16) % bound; }

/* Run one input from memory of exactly its size, so that reading one byte too many is seen. */
static void run(const uint8_t *bytes, size_t size) {
    uint8_t *exact = malloc(size > 0 ? size : 1);
    REQUIRE(exact != NULL);
    if (size > 0) {
        memcpy(exact, bytes, size);
    }
    current = (input){exact, size};
    LLVMFuzzerTestOneInput(size > 0 ? exact : NULL, size);
    current = (input){NULL, 0};
    free(exact);
}

static void load_file(const char *path) {
    struct stat status;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &status) != 0) {
        fail(path);
    }
    size_t size = (size_t)status.st_size;
    REQUIRE(size <= INPUT_MAX && corpus_size < CORPUS_MAX);
    uint8_t *bytes = malloc(size > 0 ? size : 1);
    REQUIRE(bytes != NULL);
    if (read(fd, bytes, size) != (ssize_t)size) {
        fail(path);
    }
    close(fd);
    corpus[corpus_size++] = (input){bytes, size};
}

static int is_visible(const struct dirent *entry) { return entry->d_name[0] != '.'; }

/* A file, or the files of a directory in the order of their names. */
static void load(const char *path) {
    struct stat status;
    struct dirent **names;
    if (stat(path, &status) != 0) {
        fail(path);
    }
    if (!S_ISDIR(status.st_mode)) {
        load_file(path);
        return;
    }
    int count = scandir(path, &names, is_visible, alphasort);
    if (count < 0) {
        fail(path);
    }
    for (int i = 0; i < count; i++) {
        char inner[4096];
        snprintf(inner, sizeof inner, "%s/%s", path, names[i]->d_name);
        load_file(inner);
        free(names[i]);
    }
    free(names);
}

static const uint8_t INTERESTING[] = {0x00, 0x01, 0x07, 0x08, 0x0a, 0x0b, 0x0c, 0x12,
                                      0x1f, 0x20, 0x21, 0x7f, 0x80, 0x81, 0xfe, 0xff};

/* Open a gap of `count` bytes at `at`; 0 if there is no room. */
static int open_gap(uint8_t *bytes, size_t *size, size_t at, size_t count) {
    if (count > MUTANT_MAX - *size) {
        return 0;
    }
    memmove(bytes + at + count, bytes + at, *size - at);
    *size += count;
    return 1;
}

static void remove_range(uint8_t *bytes, size_t *size, size_t at, size_t count) {
    memmove(bytes + at, bytes + at + count, *size - at - count);
    *size -= count;
}

/* Insert a piece of another corpus entry. */
static void insert_piece(uint8_t *bytes, size_t *size, size_t at) {
    const input *other = &corpus[below(corpus_size)];
    size_t from = below(other->size);
    size_t count = below(64);
    if (count <= other->size - from && open_gap(bytes, size, at, count)) {
        memcpy(bytes + at, other->bytes + from, count);
    }
}

static void mutate_once(uint8_t *bytes, size_t *size) {
    size_t at = below(*size + 1);
    size_t rest = *size - at;
    size_t count = below(rest < 16 ? rest + 1 : 16);
    switch (below(8)) {
    case 0:
        if (rest > 0) {
            bytes[at] ^= (uint8_t)(1u << below(8));
        }
        break;
    case 1:
        if (rest > 0) {
            bytes[at] = INTERESTING[below(sizeof INTERESTING)];
        }
        break;
    case 2:
        if (rest > 0) {
            bytes[at] = (uint8_t)(bytes[at] + below(2) * 2 - 1);
        }
        break;
    case 3:
        if (open_gap(bytes, size, at, 1)) {
            bytes[at] = INTERESTING[below(sizeof INTERESTING)];
        }
        break;
    case 4:
        remove_range(bytes, size, at, count);
        break;
    case 5: /* a piece twice */
        if (open_gap(bytes, size, at, count)) {
            memmove(bytes + at, bytes + at + count, count);
        }
        break;
    case 6:
        insert_piece(bytes, size, at);
        break;
    default:
        *size = at;
        break;
    }
}

static void run_mutant(void) {
    static uint8_t bytes[MUTANT_MAX];
    const input *seed = &corpus[below(corpus_size)];
    size_t size = seed->size < MUTANT_MAX ? seed->size : MUTANT_MAX;
    memcpy(bytes, seed->bytes, size);
    for (size_t steps = 1 + below(STEPS_MAX); steps > 0; steps--) {
        mutate_once(bytes, &size);
    }
    run(bytes, size);
}

static unsigned long long number_of(const char *text) {
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text == '\0' || *end != '\0') {
        fprintf(stderr, "%s: not a number\n", text);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv) {
    unsigned long long mutations = 0, seconds = 0, done = 0;
    random_state = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--mutations") == 0 && i + 1 < argc) {
            mutations = number_of(argv[++i]);
        } else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
            seconds = number_of(argv[++i]);
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            random_state = number_of(argv[++i]) + 1; /* zero would stay zero */
        } else {
            load(argv[i]);
        }
    }
    if (corpus_size == 0) {
        fprintf(stderr, "usage: replay [--mutations N] [--seconds S] [--seed X] FILE|DIRECTORY...\n");
        return 2;
    }
    __sanitizer_set_death_callback(save_current);
    signal(SIGABRT, on_abort);
    for (size_t i = 0; i < corpus_size; i++) {
        run(corpus[i].bytes, corpus[i].size);
    }
    time_t end = time(NULL) + (time_t)seconds;
    while (done < mutations || (seconds > 0 && time(NULL) < end)) {
        run_mutant();
        done++;
    }
    printf("%zu inputs and %llu mutations of them: no property broken\n", corpus_size, done);
    return 0;
}
