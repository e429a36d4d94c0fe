/* SPDX-License-Identifier: Apache-2.0
 *
 * A C node, made with ei, that talks to a Python node: it connects, sends to a registered name,
 * calls a function by rpc, and prints what is sent back to it.
 *
 *   ./c_node NODE COOKIE
 */
#include <ei.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DEADLINE 60000 /* milliseconds for anything */

static void fail(const char *what)
{
    printf("failed: %s\n", what);
    exit(1);
}

static int connected(ei_cnode *self, char *node, const char *cookie)
{
    char alive[64], full[128];
    struct in_addr address = {.s_addr = htonl(INADDR_LOOPBACK)};
    int fd;

    snprintf(alive, sizeof alive, "c%ld", (long)getpid());
    snprintf(full, sizeof full, "%s@localhost", alive);
    if (ei_init() != 0 ||
        ei_connect_xinit(self, "localhost", alive, full, &address, cookie, 1) < 0)
        fail("ei_connect_xinit");
    fd = ei_connect_tmo(self, node, DEADLINE);
    if (fd < 0)
        fail("ei_connect");
    return fd;
}

/* Sends {hello, Pid, 5} to the name `inbox' and prints the integer that comes back. */
static void greet(ei_cnode *self, int fd)
{
    ei_x_buff out, in;
    erlang_msg message;
    long number;
    int version, index = 0, got;

    ei_x_new_with_version(&out);
    ei_x_encode_tuple_header(&out, 3);
    ei_x_encode_atom(&out, "hello");
    ei_x_encode_pid(&out, ei_self(self));
    ei_x_encode_long(&out, 5);
    if (ei_reg_send_tmo(self, fd, "inbox", out.buff, out.index, DEADLINE) < 0)
        fail("ei_reg_send");
    ei_x_new(&in);
    do
        got = ei_xreceive_msg_tmo(fd, &message, &in, DEADLINE);
    while (got == ERL_TICK);
    if (got != ERL_MSG || ei_decode_version(in.buff, &index, &version) < 0 ||
        ei_decode_long(in.buff, &index, &number) < 0)
        fail("no integer came back");
    printf("answer %ld\n", number);
}

/* rpc:call(Node, sums, add, [2, 3]). */
static void add(ei_cnode *self, int fd)
{
    ei_x_buff arguments, result;
    long sum;
    int index = 0;

    ei_x_new(&arguments);
    ei_x_encode_list_header(&arguments, 2);
    ei_x_encode_long(&arguments, 2);
    ei_x_encode_long(&arguments, 3);
    ei_x_encode_empty_list(&arguments);
    ei_x_new(&result);
    if (ei_rpc(self, fd, "sums", "add", arguments.buff, arguments.index, &result) < 0 ||
        ei_decode_long(result.buff, &index, &sum) < 0)
        fail("ei_rpc");
    printf("sum %ld\n", sum);
}

int main(int argc, char **argv)
{
    ei_cnode self;
    int fd;

    if (argc != 3)
        fail("c_node NODE COOKIE");
    fd = connected(&self, argv[1], argv[2]);
    greet(&self, fd);
    add(&self, fd);
    return 0;
}
