/* SPDX-License-Identifier: Apache-2.0
 *
 * A program in C that joins the cluster as a hidden node and uses the services of a hornbeam node:
 * it counts a visit in the shared state, executes a handler that lives in a Python worker, and
 * prints what is published to a topic.
 *
 *   cc -o client client.c -lei          (see docs/guides/interop.md for the folders)
 *   ./client NODE COOKIE MESSAGES       ends after that many messages
 *
 * Every request is {hornbeam_call, Pid, Tag, Request}, every answer {hornbeam_reply, Tag, Answer}.
 */
#include <ei.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEADLINE 20000 /* milliseconds for an answer */

typedef struct {
    ei_cnode self;
    int fd;
    long last_tag;
} client;

static void fail(const char *what)
{
    fprintf(stderr, "client: %s\n", what);
    exit(1);
}

static void connect_to(client *c, const char *node, const char *cookie)
{
    char alive[64], full[128];
    struct in_addr address = {.s_addr = htonl(INADDR_LOOPBACK)};

    snprintf(alive, sizeof alive, "client%ld", (long)getpid());
    snprintf(full, sizeof full, "%s@127.0.0.1", alive);
    if (ei_init() != 0 ||
        ei_connect_xinit(&c->self, "localhost", alive, full, &address, cookie, 1) < 0)
        fail("cannot make a node of this program");
    c->fd = ei_connect_tmo(&c->self, (char *)node, DEADLINE);
    if (c->fd < 0)
        fail("cannot connect: is the node there, is it the same cookie?");
}

/* Begins {hornbeam_call, Pid, Tag, {Operation, [, the caller adds Arguments arguments. */
static void begin(client *c, ei_x_buff *out, const char *operation, int arguments)
{
    ei_x_new_with_version(out);
    ei_x_encode_tuple_header(out, 4);
    ei_x_encode_atom(out, "hornbeam_call");
    ei_x_encode_pid(out, ei_self(&c->self));
    ei_x_encode_long(out, ++c->last_tag);
    ei_x_encode_tuple_header(out, 2);
    ei_x_encode_atom(out, operation);
    ei_x_encode_list_header(out, arguments);
}

/* Text is a binary in UTF-8: ei_x_encode_string would make a list of characters of it. */
static void add_text(ei_x_buff *out, const char *text)
{
    ei_x_encode_binary(out, text, strlen(text));
}

/* The next message of the other side; ticks are answered by ei itself. */
static void next_message(client *c, ei_x_buff *in, int *index)
{
    erlang_msg message;
    int version, kind;

    do {
        in->index = 0;
        kind = ei_xreceive_msg_tmo(c->fd, &message, in, DEADLINE);
    } while (kind == ERL_TICK);
    if (kind != ERL_MSG)
        fail("the connection ended, or nothing came in time");
    *index = 0;
    if (ei_decode_version(in->buff, index, &version) < 0)
        fail("a message is no term");
}

/* Sends a request and waits for {hornbeam_reply, Tag, {ok, Value}}; *index is at Value then. */
static void call(client *c, const char *service, ei_x_buff *out, ei_x_buff *in, int *index)
{
    char name[MAXATOMLEN];
    int arity;
    long tag;

    ei_x_encode_empty_list(out);
    if (ei_reg_send(&c->self, c->fd, (char *)service, out->buff, out->index) < 0)
        fail("cannot send");
    ei_x_free(out);
    next_message(c, in, index);
    if (ei_decode_tuple_header(in->buff, index, &arity) < 0 || arity != 3 ||
        ei_decode_atom(in->buff, index, name) < 0 || strcmp(name, "hornbeam_reply") != 0 ||
        ei_decode_long(in->buff, index, &tag) < 0 || tag != c->last_tag)
        fail("this is not the answer");
    if (ei_decode_tuple_header(in->buff, index, &arity) < 0 || arity != 2 ||
        ei_decode_atom(in->buff, index, name) < 0 || strcmp(name, "ok") != 0)
        fail("the service answers an error");
}

static void print_text(const char *label, ei_x_buff *in, int *index)
{
    int type, size;
    long length;
    char *text;

    if (ei_get_type(in->buff, index, &type, &size) < 0 || type != ERL_BINARY_EXT)
        fail("expected a text");
    text = malloc((size_t)size + 1);
    if (text == NULL || ei_decode_binary(in->buff, index, text, &length) < 0)
        fail("cannot read a text");
    printf("%s %.*s\n", label, (int)length, text);
    fflush(stdout);
    free(text);
}

static void count_visit(client *c, ei_x_buff *in)
{
    ei_x_buff out;
    int index;
    long visits;

    begin(c, &out, "incr", 2);
    add_text(&out, "visits");
    ei_x_encode_long(&out, 1);
    call(c, "hornbeam_state", &out, in, &index);
    if (ei_decode_long(in->buff, &index, &visits) < 0)
        fail("expected a number");
    printf("visit %ld\n", visits);
}

static void greet(client *c, ei_x_buff *in)
{
    ei_x_buff out;
    int index;

    begin(c, &out, "execute", 3);
    add_text(&out, "greeter");
    add_text(&out, "Hello");
    add_text(&out, "C");
    call(c, "hornbeam_hooks", &out, in, &index);
    print_text("greeted", in, &index);
}

static void subscribe(client *c, ei_x_buff *in)
{
    ei_x_buff out;
    int index;

    begin(c, &out, "subscribe", 1);
    add_text(&out, "news");
    call(c, "hornbeam_topics", &out, in, &index);
    printf("subscribed\n");
    fflush(stdout);
}

/* {hornbeam_pubsub, Topic, Message}; {hornbeam_pubsub_lost, Topic, Number} may come before one. */
static int print_news(client *c, ei_x_buff *in)
{
    char name[MAXATOMLEN];
    int arity, index;

    next_message(c, in, &index);
    if (ei_decode_tuple_header(in->buff, &index, &arity) < 0 || arity != 3 ||
        ei_decode_atom(in->buff, &index, name) < 0 || ei_skip_term(in->buff, &index) < 0)
        fail("expected a message of the topic");
    if (strcmp(name, "hornbeam_pubsub") != 0)
        return 0;
    print_text("news", in, &index);
    return 1;
}

int main(int argc, char **argv)
{
    client c = {.last_tag = 0};
    ei_x_buff in;
    int left;

    if (argc != 4)
        fail("usage: client NODE COOKIE MESSAGES");
    connect_to(&c, argv[1], argv[2]);
    ei_x_new(&in);
    count_visit(&c, &in);
    greet(&c, &in);
    subscribe(&c, &in);
    for (left = atoi(argv[3]); left > 0;)
        left -= print_news(&c, &in);
    ei_x_free(&in);
    close(c.fd);
    return 0;
}
