%% SPDX-License-Identifier: Apache-2.0
%% @doc The example of a program in C: compiled with `ei', it joins the cluster as a C node.
-module(c_node_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1]).

-compile([export_all, nowarn_export_all]).

-define(PATIENCE, 60000).

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {minutes, 4}}].

init_per_suite(Config) ->
    case {os:find_executable("cc"), do_library()} of
        {false, _} -> {skip, "there is no C compiler (cc)"};
        {_, none} -> {skip, "erl_interface is not installed (Debian: erlang-dev)"};
        {_, Folder} -> [{client, do_compile(Folder, ?config(priv_dir, Config))} | Config]
    end.

end_per_suite(_) -> ok.

do_library() ->
    case code:lib_dir(erl_interface) of
        {error, bad_name} -> none;
        Folder -> Folder
    end.

do_example() -> filename:join([hornbeam_case:root(), "examples", "c_node"]).

do_compile(Folder, Into) ->
    Client = filename:join(Into, "client"),
    Arguments = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o", Client,
        filename:join(do_example(), "client.c"), "-I" ++ filename:join(Folder, "include"),
        "-L" ++ filename:join(Folder, "lib"), "-lei", "-lpthread"],
    ?assertEqual({0, <<>>}, do_collect(do_spawn(os:find_executable("cc"), Arguments))),
    Client.

do_spawn(Program, Arguments) ->
    open_port({spawn_executable, Program},
        [binary, exit_status, stderr_to_stdout, {args, Arguments}]).

do_collect(Port) ->
    receive
        {Port, {data, Data}} ->
            {Status, Rest} = do_collect(Port),
            {Status, <<Data/binary, Rest/binary>>};
        {Port, {exit_status, Status}} ->
            {Status, <<>>}
    after ?PATIENCE -> error(no_end)
    end.

%% Until the program has printed the text.
do_until(Port, Text, Printed) ->
    case binary:match(Printed, Text) of
        nomatch ->
            receive
                {Port, {data, Data}} -> do_until(Port, Text, <<Printed/binary, Data/binary>>);
                {Port, {exit_status, Status}} -> error({Status, Printed})
            after ?PATIENCE -> error({not_printed, Text, Printed})
            end;
        _ ->
            Printed
    end.

the_example(Config) ->
    doc("The program in C counts in the shared state, executes a handler in a Python worker and "
        "prints what is published, from Erlang and from the web application; a wrong cookie is "
        "refused."),
    Cookie = "cnode" ++ os:getpid(),
    Options = #{python => hornbeam_case:python(), pythonpath => [do_example()]},
    {_, Node} = Server = hornbeam_peers:start("cnode", ["-setcookie", Cookie]),
    Port = hornbeam_peers:run(Server, fun() ->
        {ok, _} = application:ensure_all_started(hornbeam),
        hornbeam_case:start("app:application", Options)
    end),
    Run = fun(With) ->
        do_spawn(?config(client, Config), [atom_to_list(Node), With, "2"])
    end,
    ?assertMatch({1, <<"client: cannot connect", _/binary>>}, do_collect(Run("wrong"))),
    Client = Run(Cookie),
    Printed = do_until(Client, <<"subscribed\n">>, <<>>),
    ?assertEqual(<<"visit 1\ngreeted Hello, C!\nsubscribed\n">>, Printed),
    ?assertEqual(1, hornbeam_peers:run(Server, fun() ->
        hornbeam_pubsub:publish("news", <<"from Erlang">>)
    end)),
    ?assertEqual({200, <<"1 told\n">>}, hornbeam_case:fetch(Port, "/announce?from%20Python")),
    ?assertEqual({0, <<"news from Erlang\nnews from Python\n">>}, do_collect(Client)),
    ?assertEqual({200, <<"1 visits\n">>}, hornbeam_case:fetch(Port, "/visits")).
