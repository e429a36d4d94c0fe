%% SPDX-License-Identifier: Apache-2.0
%% @doc Tables for `hornbeam_bind', and what the kernel makes of its socket options.
%% Runs in: the EUnit process; the last test listens on port 0 and a Unix socket.
-module(hornbeam_bind_tests).

-include_lib("eunit/include/eunit.hrl").
-include("properties.hrl").

-define(LOCALHOST, {inet, {127, 0, 0, 1}}).

good() ->
    [
        {"127.0.0.1:8000", [{?LOCALHOST, 8000}]},
        {<<"127.0.0.1:8000">>, [{?LOCALHOST, 8000}]},
        {"0.0.0.0:80", [{{inet, {0, 0, 0, 0}}, 80}]},
        {"localhost:0", [{?LOCALHOST, 0}]},
        {"localhost:65535", [{?LOCALHOST, 65535}]},
        {8000, [{?LOCALHOST, 8000}]},
        {"8000", [{?LOCALHOST, 8000}]},
        {<<"8000">>, [{?LOCALHOST, 8000}]},
        {"[::1]:8000", [{{inet6, {0, 0, 0, 0, 0, 0, 0, 1}}, 8000}]},
        {"[::]:8000", [{{inet6, {0, 0, 0, 0, 0, 0, 0, 0}}, 8000}]},
        {"unix:/run/app.sock", [{{local, <<"/run/app.sock">>}, 0}]},
        {<<"unix:/run/été.sock"/utf8>>, [{{local, <<"/run/été.sock"/utf8>>}, 0}]},
        {"unix:/run/été.sock", [{{local, <<"/run/été.sock"/utf8>>}, 0}]},
        {"unix:" ++ lists:duplicate(107, $a), [{{local, binary:copy(<<"a">>, 107)}, 0}]},
        {["127.0.0.1:1", <<"[::1]:2">>, 3], [{?LOCALHOST, 1}, {{inet6, {0, 0, 0, 0, 0, 0, 0, 1}},
            2}, {?LOCALHOST, 3}]},
        {[8000, 8001], [{?LOCALHOST, 8000}, {?LOCALHOST, 8001}]},
        {["8000"], [{?LOCALHOST, 8000}]}
    ].

%% The value, and a part of what is said about it.
bad() ->
    [
        {[], "no address"},
        {":8000", "names no host"},
        {"*:8000", "names no host"},
        {"127.0.0.1", "several colons|needs a port"},
        {"127.0.0.1:", "needs a port"},
        {"127.0.0.1:65536", "needs a port"},
        {"127.0.0.1:+80", "needs a port"},
        {"127.0.0.1: 80", "needs a port"},
        {"127.0.0.1:80 ", "needs a port"},
        {"127.0.0.1:http", "needs a port"},
        {-1, "needs a port"},
        {65536, "needs a port"},
        {"::1:8000", "brackets"},
        {"[::1]", "has no port"},
        {"[::1]:x", "needs a port"},
        {"[nope]:80", "IPv6"},
        {"[127.0.0.1]:80", "IPv6"},
        {"0:80", "neither"},
        {"127.1:80", "neither"},
        {"256.0.0.1:80", "neither"},
        {"0x7f000001:80", "neither"},
        {"a b:80", "neither"},
        {"http://localhost:80", "colons"},
        {"no-such-host.invalid:80", "unknown host"},
        {"unix:", "no path"},
        {"unix:" ++ lists:duplicate(108, $a), "107"},
        {"unix:/a\0b", "neither"},
        {["127.0.0.1:80", ":80"], "names no host"},
        {["127.0.0.1:80" | x], "neither"},
        {[[]], "needs a port"},
        {{127, 0, 0, 1}, "neither"},
        {undefined, "neither"},
        {#{}, "neither"}
    ].

good_test_() ->
    [{name(Value), fun() ->
        {ok, Binds} = hornbeam_bind:check(Value),
        ?assertEqual(Expected, [{A, P} || #{address := A, port := P, text := T} <- Binds,
            is_binary(T)])
    end} || {Value, Expected} <- good()].

bad_test_() ->
    [{name(Value), fun() ->
        {error, What} = hornbeam_bind:check(Value),
        ?assertMatch({match, _}, re:run(What, Part, [unicode]))
    end} || {Value, Part} <- bad()].

format_test_() ->
    [{Shown, fun() ->
        {ok, [Bind]} = hornbeam_bind:check(Value),
        ?assertEqual(Shown, hornbeam_bind:format(Scheme, Bind, Port))
    end} || {Scheme, Value, Port, Shown} <- [
        {<<"http">>, "127.0.0.1:0", 8123, <<"http://127.0.0.1:8123">>},
        {<<"https">>, 8000, 8000, <<"https://127.0.0.1:8000">>},
        {<<"https">>, "[::1]:8000", 8000, <<"https://[::1]:8000">>},
        {<<"http">>, "unix:/run/app.sock", 0, <<"unix:/run/app.sock">>}
    ]].

any_term_test_() ->
    {"any term is a list of addresses or an error text, and never an address on every interface "
        "that did not say so",
        {timeout, 60, ?_assert(proper:quickcheck(prop_any_term(), [{to_file, user}, 200]))}}.

%% No names: each would be a question to the resolver of the machine.
prop_any_term() ->
    Text = list(oneof([range($0, $9), $., $:, $[, $], $*, $x, $+])),
    ?FORALL(Value, oneof([integer(), Text, [Text], ?LET(T, Text, list_to_binary(T)), {any()}]),
        case hornbeam_bind:check(Value) of
            {ok, Binds} -> lists:all(fun is_said/1, Binds);
            {error, What} -> is_binary(What)
        end).

is_said(#{address := {inet, {0, 0, 0, 0}}, text := Text}) -> binary:match(Text,
    <<"0.0.0.0">>) =/= nomatch;
is_said(#{address := {inet6, {0, 0, 0, 0, 0, 0, 0, 0}}, text := Text}) -> binary:match(Text,
    <<"::">>) =/= nomatch;
is_said(#{}) -> true.

listens_test_() ->
    {"the socket options are taken by ranch as they are, for each kind of address",
        {setup, fun() -> {ok, _} = application:ensure_all_started(ranch) end, fun(_) -> ok end,
            [{Text, fun() -> listen(Text) end} || Text <- addresses()]}}.

addresses() ->
    Path = filename:join(os:getenv("TMPDIR", "/tmp"), "hornbeam_bind_" ++ os:getpid() ++ ".sock"),
    ["127.0.0.1:0", "unix:" ++ Path] ++
        case gen_tcp:listen(0, [inet6, {ip, {0, 0, 0, 0, 0, 0, 0, 1}}]) of
            {ok, Socket} -> ok = gen_tcp:close(Socket), ["[::1]:0"];
            %% A machine without IPv6.
            {error, _} -> []
        end.

listen(Text) ->
    {ok, [Bind]} = hornbeam_bind:check(Text),
    {ok, Socket} = ranch_tcp:listen(#{socket_opts => hornbeam_bind:to_ranch(Bind)}),
    {ok, Name} = inet:sockname(Socket),
    {ok, Client} = case {Bind, Name} of
        {#{address := {local, Path}}, {local, Path}} -> gen_tcp:connect({local, Path}, 0, [local],
            5000);
        {#{address := {Family, Ip}}, {Ip, Port}} -> gen_tcp:connect(Ip, Port, [Family], 5000)
    end,
    ok = gen_tcp:close(Client),
    ok = gen_tcp:close(Socket),
    case Bind of
        #{address := {local, File}} -> ok = file:delete(File);
        #{} -> ok
    end.

name(Value) ->
    lists:flatten(io_lib:format("~tp", [Value])).
