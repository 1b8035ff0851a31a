/* Allocates as it is told, linked to the runtime as torch is. Each argument is an order, answered by one line:
 * malloc:BYTES free:NUMBER create:BYTES host:BYTES release:NUMBER info driver_info size old_create:BYTES threads fork */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int cudaMalloc(void **, size_t);
int cudaFree(void *);
int cudaMemGetInfo(size_t *, size_t *);
int cudaGetDeviceProperties(char *, int);
int cudaGetDriverEntryPointByVersion(const char *, void **, unsigned, unsigned long long, int *);
int cudaGetDriverEntryPoint(const char *, void **, unsigned long long, int *);

static void *churn(void *none)
{
    void *pointer;
    for (int round = 0; round < 20000; round++)
        if (!cudaMalloc(&pointer, 1 << 20)) cudaFree(pointer);
    return none;
}

int run(int count, char **orders)
{
    void *pointers[64];
    uint64_t handles[64];
    int held = 0, made = 0, found;
    int on_card[] = {1, 0, 1, 0}, on_host[] = {1, 0, 2, 0};
    int (*create)(uint64_t *, size_t, const int *, unsigned long long), (*old)(uint64_t *, size_t, const int *, unsigned long long);
    int (*release)(uint64_t), (*info)(size_t *, size_t *);
    cudaGetDriverEntryPointByVersion("cuMemCreate", (void **)&create, 12000, 0, &found);
    cudaGetDriverEntryPointByVersion("cuMemRelease", (void **)&release, 12000, 0, &found);
    cudaGetDriverEntryPointByVersion("cuMemGetInfo", (void **)&info, 12000, 0, &found);
    cudaGetDriverEntryPoint("cuMemCreate", (void **)&old, 0, &found);
    for (int at = 0; at < count; at++) {
        char *order = strtok(orders[at], ":"), *text = strtok(NULL, ":");
        size_t value = text ? strtoull(text, NULL, 10) : 0, free_bytes, total;
        int code = 0;
        if (!strcmp(order, "malloc")) code = cudaMalloc(&pointers[held], value), held += !code;
        if (!strcmp(order, "free")) code = cudaFree(pointers[value]);
        if (!strcmp(order, "free_wrong")) code = cudaFree((void *)1);
        if (!strcmp(order, "create")) code = create(&handles[made], value, on_card, 0), made += !code;
        if (!strcmp(order, "old_create")) code = old(&handles[made], value, on_card, 0), made += !code;
        if (!strcmp(order, "host")) code = create(&handles[made], value, on_host, 0), made += !code;
        if (!strcmp(order, "release")) code = release(handles[value]);
        if (!strcmp(order, "info") || !strcmp(order, "driver_info")) {
            (*order == 'i' ? cudaMemGetInfo : info)(&free_bytes, &total);
            printf("%zu of %zu\n", free_bytes, total);
            continue;
        }
        if (!strcmp(order, "size")) {
            char card[2048];
            cudaGetDeviceProperties(card, 0);
            memcpy(&total, card + 288, sizeof total);
            printf("%zu\n", total);
            continue;
        }
        if (!strcmp(order, "threads")) {
            pthread_t threads[8];
            for (int one = 0; one < 8; one++) pthread_create(&threads[one], NULL, churn, NULL);
            for (int one = 0; one < 8; one++) pthread_join(threads[one], NULL);
        }
        if (!strcmp(order, "fork")) {
            fflush(stdout);
            pid_t child = fork();
            if (!child) exit(0);
            waitpid(child, NULL, 0);
        }
        printf("%d\n", code);
    }
    fflush(stdout);
    return 0;
}

int main(int count, char **orders) { return run(count - 1, orders + 1); }
