%% SPDX-License-Identifier: Apache-2.0
%% @doc Requests at the edge of what HTTP allows, as bytes, and what a server must answer to each.
%% A table for the tests of the header checks and for the live tests of the whole server.
-module(edge_cases).

-export([options/0, cases/0, limits/0]).
-export_type([expected/0]).

-type expected() ::
    Status :: 200..599
    %% Closed without a response, or with one of the statuses.
    | {closed, or_status, [400..599]}.

-define(MAX_LINE, 512).
-define(MAX_HEADER, 256).
-define(MAX_HEADERS, 20).
-define(MAX_BODY, 1000).

%% @doc The options under which the expectations of `cases/0' hold.
-spec options() -> #{atom() => pos_integer()}.
options() ->
    #{
        max_request_line_size => ?MAX_LINE,
        max_header_size => ?MAX_HEADER,
        max_headers => ?MAX_HEADERS,
        max_body => ?MAX_BODY
    }.

%% @doc What is checked, the bytes of the request, what must come back. 200 is any answer of an
%% application that answers every request with 200.
-spec cases() -> [{string(), iodata(), expected()}].
cases() ->
    line() ++ targets() ++ names() ++ values() ++ hosts() ++ limits() ++ bodies() ++ expectations().

line() ->
    [
        {"a plain request is served", get("/", []), 200},
        {"an empty line before the request is skipped", ["\r\n", get("/", [])], 200},
        {"HTTP/1.0 without host is served", "GET / HTTP/1.0\r\n\r\n", 200},
        {"a method of its own is served", request("PURGE", "/", []), 200},
        {"a method of every kind of character is served", request("M_a-1.!~", "/", []), 200},
        {"a method of 32 bytes is served", request(bytes(32, "M"), "/", []), 200},
        {"a method of 33 bytes is refused", request(bytes(33, "M"), "/", []), 501},
        {"a method that is no token is refused", request("GE(T", "/", []), 400},
        {"a request line without version is refused", "GET /\r\nhost: a\r\n\r\n",
            {closed, or_status, [400]}},
        {"HTTP/1.2 is refused", "GET / HTTP/1.2\r\nhost: a\r\n\r\n", 505},
        {"two spaces before the version are refused", "GET /  HTTP/1.1\r\nhost: a\r\n\r\n", 400},
        {"a request line that ends in a bare LF is refused", "GET / HTTP/1.1\nhost: a\n\n",
            {closed, or_status, [400, 505]}},
        {"a request that starts with a space is refused", " GET / HTTP/1.1\r\nhost: a\r\n\r\n",
            400},
        {"garbage is refused", "\0\1\2\3\4\r\n\r\n", 400},
        {"a TLS hello on a plain port is refused", <<22, 3, 1, 0, 5, 1, 0, 0, 1, 3, 13, 10>>, 400}
    ].

targets() ->
    [
        {"a percent-encoded target is served", get("/caf%C3%A9?q=%00", []), 200},
        {"the absolute form is served", request("GET", "http://a/x?y", "a", []), 200},
        {"an absolute form of another host is refused", request("GET", "http://b/", "a", []), 400},
        {"userinfo in the absolute form is refused", request("GET", "http://u:p@a/", "a", []), 400},
        {"OPTIONS * is served", request("OPTIONS", "*", []), 200},
        {"GET * is refused", request("GET", "*", []), 400},
        {"a target without slash is refused", request("GET", "x", []), 400},
        {"CONNECT is refused", request("CONNECT", "a:80", []), 501},
        {"a tab in the path is refused", get("/a\tb", []), 400},
        {"a NUL in the path is refused", get("/a\0b", []), 400},
        {"a DEL in the path is refused", get("/a\x7fb", []), 400},
        {"a byte above ASCII in the path is refused", get(<<"/caf", 16#E9>>, []), 400},
        {"UTF-8 in the path is refused", get(<<"/café"/utf8>>, []), 400},
        {"a bare LF in the path is refused", get("/a\nb", []), {closed, or_status, [400, 505]}},
        {"a bare CR in the path is refused", get("/a\rb", []), 400},
        {"a tab in the query is refused", get("/?a\tb", []), 400},
        {"a NUL in the query is refused", get("/?a\0b", []), 400},
        {"a byte above ASCII in the query is refused", get(<<"/?", 16#E9>>, []), 400}
    ].

names() ->
    [
        {"a header name of every token character is served",
            get("/", ["!#$%&'*+-.^`|~09azAZ: x\r\n"]), 200},
        {"an empty header name is refused", get("/", [": x\r\n"]), 400},
        {"a space before the colon is refused", get("/", ["x-a : b\r\n"]), 400},
        {"a tab before the colon is refused", get("/", ["x-a\t: b\r\n"]), 400},
        {"a folded header is refused", get("/", ["x-a: b\r\n c\r\n"]), 400},
        {"a header without colon is refused", get("/", ["x-a b\r\n"]), 400},
        {"an underscore in a header name is refused", get("/", ["x_forwarded_for: 10.0.0.1\r\n"]),
            400}
    ] ++
        [{"the byte " ++ integer_to_list(C) ++ " in a header name is refused",
            get("/", ["x-a", C, "b: c\r\n"]), 400} || C <- [0, 1, 13, 31, $", $(, $), $,, $/, $;,
                $<, $=,
            $>, $?, $@, $[, $\\, $], ${, $}, 16#7F, 16#80, 16#E9, 16#FF]].

values() ->
    [
        {"an empty header value is served", get("/", ["x-a:\r\n"]), 200},
        {"a tab within a header value is served", get("/", ["x-a: b\tc\r\n"]), 200},
        {"bytes above ASCII in a header value are served", get("/", [<<"x-a: ", 16#80, 16#E9,
            16#FF, "\r\n">>]), 200},
        {"a bare LF in a header value is refused", get("/", ["x-a: b\nx-c: d\r\n"]), 400},
        {"a bare LF as the end of a header is refused",
            "GET / HTTP/1.1\r\nhost: a\nx-b: c\r\n\r\n", 400},
        {"a bare CR in a header value is refused", get("/", ["x-a: b\rc\r\n"]), 400},
        {"a bare CR at the end of a header value is refused", get("/", ["x-a: b\r\r\n"]), 400}
    ] ++
        [{"the byte " ++ integer_to_list(C) ++ " in a header value is refused",
            get("/", ["x-a: 12345", C, "67\r\n"]), 400} || C <- lists:seq(0, 31) ++ [127],
                C =/= $\t, C =/= $\n].

hosts() ->
    [{"the host \"" ++ Host ++ "\" is served", request("GET", "/", Host, []), 200} ||
        Host <- ["a", "A.example.COM", "a.b-c.d_e", "a.", "a:80", "127.0.0.1", "127.0.0.1:65535",
            "[::1]",
            "[2001:DB8::1]:8000", "[::ffff:1.2.3.4]"]] ++
    [{"the host \"" ++ Host ++ "\" is refused", request("GET", "/", Host, []), 400} ||
        Host <- ["", ":80", "a b", "a,b", "a, b", "a/b", "a@b", "a?b", "a#b", "a\\b", "a<b",
            "a\"b", "a:", "a:x",
            "a:+80", "a:-80", "a:0", "a:65536", "a:080808", "a:80:80", "::1", "[::1", "[]",
                "[::1]x", "[::1]:",
            "[:::]", "[1.2.3.4]", "[fe80::1%25eth0]", "a%41", "\xe9"]] ++
    [
        {"HTTP/1.1 without host is refused", "GET / HTTP/1.1\r\n\r\n", 400},
        {"two hosts are refused", get("/", ["host: b\r\n"]), 400},
        {"the same host twice is refused", get("/", ["host: a\r\n"]), 400}
    ].

%% @doc Those of `cases/0' that are about sizes.
-spec limits() -> [{string(), iodata(), expected()}].
limits() ->
    [
        {"a request line one below the limit is served", of_line(?MAX_LINE - 1, "/"), 200},
        {"a request line at the limit is served", of_line(?MAX_LINE, "/"), 200},
        {"a request line one over the limit is refused", of_line(?MAX_LINE + 1, "/"), 414},
        {"a request line with query at the limit is served", of_line(?MAX_LINE, "/?"), 200},
        {"a request line with query one over the limit is refused", of_line(?MAX_LINE + 1, "/?"),
            414},
        {"a request line without end is refused", ["GET /", bytes(?MAX_LINE, "a")], 414},
        {"a header one below the limit is served", of_header(?MAX_HEADER - 1), 200},
        {"a header at the limit is served", of_header(?MAX_HEADER), 200},
        {"a header one over the limit is refused", of_header(?MAX_HEADER + 1), 431},
        {"a header name at the limit is served", get("/", [bytes(?MAX_HEADER, "n"), ":\r\n"]), 200},
        {"a header name over the limit is refused", get("/", [bytes(?MAX_HEADER + 1, "n"),
            ":\r\n"]), 431},
        {"a header without end is refused", ["GET / HTTP/1.1\r\nx-a: ", bytes(?MAX_HEADER + 8,
            "a")], 431},
        {"repeated headers over the limit together are refused",
            get("/", [["x-a: ", bytes(?MAX_HEADER div 2, "a"), "\r\n"] || _ <- [1, 2]]), 431},
        {"headers one below the number allowed are served", of_headers(?MAX_HEADERS - 1), 200},
        {"as many headers as allowed are served", of_headers(?MAX_HEADERS), 200},
        {"one header more than allowed is refused", of_headers(?MAX_HEADERS + 1), 431}
    ].

bodies() ->
    [
        {"a body is served", post(["content-length: 5\r\n"], "hello"), 200},
        {"a body of no bytes is served", post(["content-length: 0\r\n"], ""), 200},
        {"a body one below the limit is served", of_body(?MAX_BODY - 1), 200},
        {"a body at the limit is served", of_body(?MAX_BODY), 200},
        {"a body one over the limit is refused before it is sent",
            post([length_of(?MAX_BODY + 1)], ""), 413},
        {"a huge content-length is refused", post(["content-length: 1", bytes(30, "0"), "\r\n"],
            ""), 413},
        {"two different content-lengths are refused",
            post(["content-length: 5\r\ncontent-length: 6\r\n"], "hello"), 400},
        {"the same content-length twice is refused",
            post(["content-length: 5\r\ncontent-length: 5\r\n"], "hello"), 400},
        {"transfer-encoding gzip is refused", post(["transfer-encoding: gzip\r\n"], ""), 400},
        {"chunked that is not last is refused", post(["transfer-encoding: chunked, gzip\r\n"],
            ""), 400},
        {"chunked twice is refused",
            post(["transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"], "0\r\n\r\n"),
                400},
        {"an unknown transfer-encoding is refused", post(["transfer-encoding: xchunked\r\n"], ""),
            400},
        {"transfer-encoding over HTTP/1.0 is refused",
            "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400}
    ] ++
        [{"the content-length \"" ++ Length ++ "\" is refused", post(["content-length: "
            "", Length, "\r\n"], "hello"), 400} ||
            Length <- ["", "x", "-1", "-0", "+5", "+0", "5 5", "5,5", "0x5", "5.0", "1e1", "5_0"]].

expectations() ->
    [
        {"100-continue is served", post([length_of(5), "expect: 100-continue\r\n"], "hello"), 200},
        {"100-Continue in capitals is served", post([length_of(5), "expect: "
            "100-Continue\r\n"], "hello"), 200},
        {"another expectation is refused", get("/", ["expect: 200-ok\r\n"]), 417},
        {"two expectations are refused", get("/", ["expect: 100-continue, x\r\n"]), 417},
        {"an expectation over HTTP/1.0 is ignored", "GET / HTTP/1.0\r\nexpect: x\r\n\r\n", 200}
    ].

get(Target, Headers) -> request("GET", Target, Headers).

post(Headers, Body) -> [request("POST", "/", Headers), Body].

request(Method, Target, Headers) -> request(Method, Target, "a", Headers).

request(Method, Target, Host, Headers) ->
    [Method, " ", Target, " HTTP/1.1\r\nhost: ", latin1(Host), "\r\n", Headers, "\r\n"].

latin1(Text) -> << <<C>> || C <- Text >>.

bytes(N, Byte) -> binary:copy(list_to_binary(Byte), N).

of_line(Size, Start) ->
    Fixed = length("GET  HTTP/1.1") + length(Start),
    get([Start, bytes(Size - Fixed, "a")], []).

of_header(Size) -> get("/", ["x-a: ", bytes(Size - 3, "v"), "\r\n"]).

%% One of them is the host.
of_headers(N) -> get("/", [["x-", integer_to_list(I), ": v\r\n"] || I <- lists:seq(2, N)]).

of_body(Size) -> post([length_of(Size)], bytes(Size, "b")).

length_of(Size) -> ["content-length: ", integer_to_list(Size), "\r\n"].
