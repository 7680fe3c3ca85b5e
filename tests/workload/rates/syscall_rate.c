/* Reads one byte of a regular file as fast as it can, for a time or a number of calls.
 *
 * usage: syscall_rate FILE SECONDS [THREADS]
 * Prints the number of read calls that were made and the nanoseconds that one took. With THREADS
 * above 1 each thread has its own descriptor. Waits for a line of standard input before it starts
 * and for another one before it prints, like every workload.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define BATCH 256

struct reader {
	pthread_t thread;
	const char *path;
	uint64_t duration_ns;
	uint64_t calls;
	uint64_t elapsed_ns;
	pthread_barrier_t *start;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void *read_on(void *argument)
{
	struct reader *reader = argument;
	int fd = open(reader->path, O_RDONLY);
	char byte;
	uint64_t begun;

	if (fd < 0) {
		perror(reader->path);
		exit(1);
	}
	pthread_barrier_wait(reader->start);
	begun = now_ns();
	do {
		for (int i = 0; i < BATCH; i++)
			if (pread(fd, &byte, 1, 0) != 1)
				exit(1);
		reader->calls += BATCH;
		reader->elapsed_ns = now_ns() - begun;
	} while (reader->elapsed_ns < reader->duration_ns);
	close(fd);
	return NULL;
}

int main(int argc, char **argv)
{
	int threads = argc > 3 ? atoi(argv[3]) : 1;
	struct reader *readers = calloc(threads, sizeof(*readers));
	pthread_barrier_t start;
	uint64_t calls = 0, elapsed = 0;
	char line[64];

	if (argc < 3 || !readers)
		return 2;
	pthread_barrier_init(&start, NULL, threads);
	dprintf(1, "{\"state\": \"ready\", \"pid\": %d}\n", getpid());
	if (read(0, line, sizeof(line)) <= 0)
		return 0;
	for (int i = 0; i < threads; i++) {
		readers[i].path = argv[1];
		readers[i].duration_ns = (uint64_t)(atof(argv[2]) * 1e9);
		readers[i].start = &start;
		pthread_create(&readers[i].thread, NULL, read_on, &readers[i]);
	}
	for (int i = 0; i < threads; i++) {
		pthread_join(readers[i].thread, NULL);
		calls += readers[i].calls;
		elapsed += readers[i].elapsed_ns;
	}
	dprintf(1, "{\"state\": \"done\"}\n");
	if (read(0, line, sizeof(line)) <= 0)
		return 0;
	dprintf(1, "{\"state\": \"truth\", \"reads\": %llu, \"ns_per_read\": %.2f, \"reads_per_second\": %.0f}\n",
		(unsigned long long)calls, (double)elapsed / calls,
		(double)calls * threads * 1e9 / elapsed);
	return 0;
}
