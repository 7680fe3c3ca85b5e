/* Reads one byte of a regular file as fast as it can, over and over from its beginning.
 *
 * usage: syscall_rate FILE SECONDS [THREADS]
 * Prints the number of read calls that were made and the nanoseconds that one took, on average and
 * in the median batch of 256, which other programs' turns on the CPU do not reach. With THREADS
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
#define MOST_BATCHES (1 << 20)

struct reader {
	pthread_t thread;
	const char *path;
	uint64_t duration_ns;
	uint64_t calls;
	uint64_t elapsed_ns;
	uint32_t *batches_ns;
	pthread_barrier_t *start;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static int by_size(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

	return (a > b) - (a < b);
}

static double median_ns(struct reader *reader)
{
	uint64_t batches = reader->calls / BATCH;

	if (batches > MOST_BATCHES)
		batches = MOST_BATCHES;
	qsort(reader->batches_ns, batches, sizeof(uint32_t), by_size);
	return (double)reader->batches_ns[batches / 2] / BATCH;
}

static void *read_on(void *argument)
{
	struct reader *reader = argument;
	int fd = open(reader->path, O_RDONLY);
	char byte;
	uint64_t begun, batches = 0;

	reader->batches_ns = calloc(MOST_BATCHES, sizeof(uint32_t));
	if (fd < 0) {
		perror(reader->path);
		exit(1);
	}
	pthread_barrier_wait(reader->start);
	begun = now_ns();
	do {
		for (int i = 0; i < BATCH; i++)
			if (read(fd, &byte, 1) != 1)
				lseek(fd, 0, SEEK_SET);
		uint64_t elapsed_ns = now_ns() - begun;

		reader->batches_ns[batches++ % MOST_BATCHES] = elapsed_ns - reader->elapsed_ns;
		reader->elapsed_ns = elapsed_ns;
		reader->calls += BATCH;
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
	dprintf(1, "{\"state\": \"truth\", \"reads\": %llu, \"ns_per_read\": %.2f, "
		   "\"median_ns\": %.2f, \"reads_per_second\": %.0f}\n",
		(unsigned long long)calls, (double)elapsed / calls,
		median_ns(&readers[0]),
		(double)calls * threads * 1e9 / elapsed);
	return 0;
}
