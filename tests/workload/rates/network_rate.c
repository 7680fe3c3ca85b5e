/* Connects, or asks DNS questions, as fast as it can or at a rate, and counts every one.
 *
 * usage: network_rate connect ADDRESS PORT SECONDS PER_SECOND
 *        network_rate dns     ADDRESS PORT SECONDS PER_SECOND
 *        network_rate accept  ADDRESS PORT
 *        network_rate answer  ADDRESS PORT
 *
 * IPv4 only. `connect` closes with a reset, so that no TIME_WAIT sockets pile up. `dns` keeps up to
 * 64 questions in flight on one socket. `accept` and `answer` are the other ends; they stop at a
 * line or the end of standard input. PER_SECOND 0 is as fast as possible.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define IN_FLIGHT 64

static struct sockaddr_in there;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void pace(uint64_t begun, uint64_t done, uint64_t per_second)
{
	uint64_t due;

	if (!per_second || done % 32)
		return;
	due = begun + done * 1000000000ull / per_second;
	if (due > now_ns() + 100000) {
		struct timespec ts = { .tv_sec = due / 1000000000ull,
				       .tv_nsec = due % 1000000000ull };

		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
	}
}

static void wait_for_line(void)
{
	char line[64];

	if (read(0, line, sizeof(line)) <= 0)
		exit(0);
}

static void storm_connects(uint64_t duration_ns, uint64_t per_second)
{
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	uint64_t begun = now_ns(), attempts = 0, established = 0;

	while (now_ns() - begun < duration_ns) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		attempts++;
		if (connect(fd, (struct sockaddr *)&there, sizeof(there)) == 0)
			established++;
		close(fd);
		pace(begun, attempts, per_second);
	}
	dprintf(1, "{\"state\": \"done\"}\n");
	wait_for_line();
	dprintf(1, "{\"state\": \"truth\", \"connects\": %llu, \"established\": %llu, \"seconds\": %.3f}\n",
		(unsigned long long)attempts, (unsigned long long)established, duration_ns / 1e9);
}

static void storm_queries(uint64_t duration_ns, uint64_t per_second)
{
	static const unsigned char tail[] = "\1\0\0\1\0\0\0\0\0\0\4rate\4test\0\0\1\0\1";
	unsigned char message[2 + sizeof(tail) - 1], answer[512];
	int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 4 << 20;
	uint64_t begun = now_ns(), sent = 0, answered = 0;
	struct pollfd ready = { .fd = fd, .events = POLLIN };

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (connect(fd, (struct sockaddr *)&there, sizeof(there)))
		exit(1);
	memcpy(message + 2, tail, sizeof(tail) - 1);
	while (now_ns() - begun < duration_ns) {
		while (sent - answered < IN_FLIGHT) {
			message[0] = sent >> 8;
			message[1] = sent;
			if (send(fd, message, sizeof(message), 0) < 0)
				exit(1);
			sent++;
			pace(begun, sent, per_second);
		}
		while (recv(fd, answer, sizeof(answer), MSG_DONTWAIT) > 0)
			answered++;
		if (sent - answered >= IN_FLIGHT && poll(&ready, 1, 1000) <= 0)
			break;
	}
	while (answered < sent && poll(&ready, 1, 1000) > 0)
		while (recv(fd, answer, sizeof(answer), MSG_DONTWAIT) > 0)
			answered++;
	dprintf(1, "{\"state\": \"done\"}\n");
	wait_for_line();
	dprintf(1, "{\"state\": \"truth\", \"queries\": %llu, \"answers\": %llu, \"seconds\": %.3f}\n",
		(unsigned long long)sent, (unsigned long long)answered, duration_ns / 1e9);
}

static void serve(int datagrams)
{
	int fd = socket(AF_INET, datagrams ? SOCK_DGRAM : SOCK_STREAM, 0), one = 1, size = 4 << 20;
	struct pollfd ready[2] = { { .fd = 0, .events = POLLIN }, { .fd = fd, .events = POLLIN } };
	socklen_t length = sizeof(there);
	uint64_t served = 0;
	unsigned char message[512];

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (bind(fd, (struct sockaddr *)&there, sizeof(there)) || (!datagrams && listen(fd, 4096))) {
		perror("bind");
		exit(1);
	}
	getsockname(fd, (struct sockaddr *)&there, &length);
	dprintf(1, "{\"state\": \"ready\", \"port\": %d}\n", ntohs(there.sin_port));
	while (poll(ready, 2, -1) > 0 && !ready[0].revents) {
		struct sockaddr_in peer;
		socklen_t peer_length = sizeof(peer);
		ssize_t got;
		int connection;

		if (!datagrams) {
			connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
			if (connection >= 0) {
				served++;
				close(connection);
			}
			continue;
		}
		while ((got = recvfrom(fd, message, sizeof(message), MSG_DONTWAIT,
				       (struct sockaddr *)&peer, &peer_length)) > 12) {
			message[2] |= 0x80;
			sendto(fd, message, got, 0, (struct sockaddr *)&peer, peer_length);
			served++;
		}
	}
	dprintf(1, "{\"state\": \"truth\", \"served\": %llu}\n", (unsigned long long)served);
}

int main(int argc, char **argv)
{
	uint64_t duration_ns = argc > 4 ? (uint64_t)(atof(argv[4]) * 1e9) : 0;
	uint64_t per_second = argc > 5 ? strtoull(argv[5], NULL, 10) : 0;

	if (argc < 4)
		return 2;
	there.sin_family = AF_INET;
	there.sin_port = htons(atoi(argv[3]));
	inet_pton(AF_INET, argv[2], &there.sin_addr);
	if (!strcmp(argv[1], "accept") || !strcmp(argv[1], "answer")) {
		serve(!strcmp(argv[1], "answer"));
		return 0;
	}
	dprintf(1, "{\"state\": \"ready\", \"pid\": %d}\n", getpid());
	wait_for_line();
	if (!strcmp(argv[1], "connect"))
		storm_connects(duration_ns, per_second);
	else
		storm_queries(duration_ns, per_second);
	return 0;
}
