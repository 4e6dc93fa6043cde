/* A stand-in for the library of NVIDIA's driver: what it says is in the file STATE, and is read at each call.
   A line for each GPU: UUID|NAME|TOTAL|FREE|BUSY|MINOR. A line `hang`: every call waits. A line `fail`: every call
   fails. A UUID of `lost`: that GPU has fallen off its bus. */
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <unistd.h>

enum { OK = 0, LOST = 15, UNKNOWN = 999, MOST = 8 };
struct gpu { char uuid[96], name[96]; unsigned long long total, freed; unsigned busy, minor; };
struct memory { unsigned long long total, freed, used; };
struct rates { unsigned gpu, memory; };

static int state(struct gpu *gpus) {
  for (;;) {
    FILE *file = fopen(STATE, "r");
    char line[512];
    int many = 0, hangs = 0, fails = 0;
    while (file && fgets(line, sizeof line, file)) {
      struct gpu *one = &gpus[many];
      hangs |= !strncmp(line, "hang", 4), fails |= !strncmp(line, "fail", 4);
      if (many < MOST && sscanf(line, "%95[^|]|%95[^|]|%llu|%llu|%u|%u", one->uuid, one->name, &one->total, &one->freed, &one->busy, &one->minor) == 6) many++;
    }
    if (file) fclose(file);
    if (!hangs) return fails ? -1 : many;
    usleep(20000);
  }
}
static int at(long index, struct gpu *found) {
  struct gpu gpus[MOST + 1];
  int many = state(gpus);
  if (many < 0 || index > many) return UNKNOWN;
  *found = gpus[index - 1];
  return strcmp(found->uuid, "lost") ? OK : LOST;
}
int nvmlInitWithFlags(unsigned flags) { struct gpu gpus[MOST + 1]; return state(gpus) < 0 ? UNKNOWN : OK; }
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { return code == LOST ? "GPU is lost" : "Unknown Error"; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { struct gpu gpus[MOST + 1]; if (state(gpus) < 0) return UNKNOWN; snprintf(text, size, "%s", "580.0"); return OK; }
int nvmlDeviceGetCount_v2(unsigned *many) { struct gpu gpus[MOST + 1]; int found = state(gpus); *many = found < 0 ? 0 : found; return found < 0 ? UNKNOWN : OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) { struct gpu one; *handle = (void *)(index + 1L); return at(index + 1L, &one); }
int nvmlDeviceGetUUID(void *handle, char *text, unsigned size) { struct gpu one; int code = at((long)handle, &one); snprintf(text, size, "%s", one.uuid); return code; }
int nvmlDeviceGetName(void *handle, char *text, unsigned size) { struct gpu one; int code = at((long)handle, &one); snprintf(text, size, "%s", one.name); return code; }
int nvmlDeviceGetMinorNumber(void *handle, unsigned *minor) { struct gpu one; int code = at((long)handle, &one); *minor = one.minor; return code; }
int nvmlDeviceGetMemoryInfo(void *handle, struct memory *told) { struct gpu one; int code = at((long)handle, &one); told->total = one.total; told->freed = one.freed; told->used = one.total - one.freed; return code; }
int nvmlDeviceGetUtilizationRates(void *handle, struct rates *told) { struct gpu one; int code = at((long)handle, &one); told->gpu = one.busy; told->memory = 0; return code; }
