%% SPDX-License-Identifier: Apache-2.0
%% @doc Starting and stopping: what is served where, clear errors, nothing left behind.
-module(start_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1, start/1, fetch/1, fetch/2, python/0, apps/0, await/1]).

-compile([export_all, nowarn_export_all]).

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {minutes, 4}}].

init_per_suite(Config) ->
    {ok, _} = application:ensure_all_started(hornbeam),
    Config.

end_per_suite(_) -> application:stop(hornbeam).

end_per_testcase(_, _) -> hornbeam:stop().

do_options(More) ->
    maps:merge(
        #{bind => "127.0.0.1:0", python => python(), pythonpath => [apps()], workers => 1}, More
    ).

fails(App, Options) ->
    {error, Reason} = hornbeam_case:quiet(fun() -> hornbeam:start(App, do_options(Options)) end),
    ?assertEqual(#{status => stopped}, hornbeam:info()),
    ?assertEqual([], supervisor:which_children(hornbeam_pools_sup)),
    ?assertEqual([], supervisor:which_children(hornbeam_listeners_sup)),
    ?assertEqual([], [P || P <- erlang:ports(), do_is_worker(P)]),
    unicode:characters_to_list(hornbeam:format_error(Reason)).

do_is_worker(Port) ->
    case erlang:port_info(Port, name) of
        {name, Name} -> string:find(Name, "python") =/= nomatch;
        undefined -> false
    end.

has(Part, Text) ->
    case string:find(Text, Part) of
        nomatch -> ct:fail({not_in, Part, Text});
        _ -> ok
    end.

serves_and_tells(_) ->
    doc("A started application answers, and info/0 tells what is served, where and by whom."),
    Port = start(#{workers => 2}),
    ?assertEqual({200, <<"Hello">>}, fetch(Port, "/hello")),
    ?assertMatch(
        #{
            status := running,
            app := <<"wsgi_apps:application">>,
            queued := 0,
            workers := [
                #{state := ready, os_pid := A, restarts := 0},
                #{state := ready, os_pid := B, restarts := 0}
            ]
        } when A =/= B,
        hornbeam:info()
    ).

stops_completely(_) ->
    doc("After stop/0 the port is free, the workers are gone, and nothing else is left."),
    Port = start(#{workers => 2}),
    Pids = hornbeam_case:pids(),
    ok = hornbeam:stop(),
    ?assertEqual([], [P || P <- Pids, hornbeam_case:alive(P)]),
    {ok, Socket} = gen_tcp:listen(Port, [{ip, {127, 0, 0, 1}}, {reuseaddr, true}]),
    ok = gen_tcp:close(Socket),
    ?assertEqual(#{status => stopped}, hornbeam:info()).

starts_and_stops_again_and_again(_) ->
    doc("Ten starts and stops in one node leave as many processes, ports and tables as one."),
    Once = fun() ->
        Port = start(#{}),
        {200, _} = fetch(Port, "/hello"),
        ok = hornbeam:stop()
    end,
    Once(),
    Figures = fun() -> {length(processes()), length(erlang:ports()), length(ets:all())} end,
    Before = Figures(),
    [Once() || _ <- lists:seq(1, 10)],
    await(fun() -> Figures() =< Before end).

application_stop_closes_the_listener(_) ->
    doc("application:stop(hornbeam) closes the listener and ends the workers."),
    Port = start(#{}),
    Pid = hornbeam_case:pid(),
    ok = application:stop(hornbeam),
    ?assertEqual({error, econnrefused}, gen_tcp:connect({127, 0, 0, 1}, Port, [])),
    ?assertNot(hornbeam_case:alive(Pid)),
    {ok, _} = application:ensure_all_started(hornbeam).

no_such_module(_) ->
    doc("A module that is not there is named."),
    Text = fails("no_such_app:application", #{}),
    has("no_such_app", Text).

import_fails(_) ->
    doc(
        "A module whose own import fails is told apart from one that is not there; traceback "
        "shown."
    ),
    Text = fails("broken_import:application", #{}),
    has("does_not_exist_anywhere", Text),
    has("Traceback", Text).

import_breaks_the_protocol(_) ->
    doc("A worker whose import writes to its connection is given up, with a clear text."),
    has("the worker broke the protocol", fails("broken_protocol:application", #{})).

no_attribute(_) ->
    doc("A missing attribute is named, with the nearest one that is there."),
    Text = fails("wsgi_apps:aplication", #{}),
    has("aplication", Text),
    has("application", Text).

bad_interpreter(_) ->
    doc("An interpreter that is not there is named."),
    has("/no/such/python", fails("wsgi_apps:application", #{python => "/no/such/python"})).

interpreter_without_hornbeam(_) ->
    doc("A program that is no Python is an error of start, not a hang."),
    has("status 1", fails("wsgi_apps:application", #{python => "/bin/false"})).

busy_port(_) ->
    doc("A port that somebody uses is an error that names the address; nothing is left running."),
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    Address = "127.0.0.1:" ++ integer_to_list(Port),
    Text = fails("wsgi_apps:application", #{bind => ["127.0.0.1:0", Address]}),
    has(Address, Text),
    has("in use", Text),
    ok = gen_tcp:close(Socket).

unknown_option(_) ->
    doc("An option that does not exist is refused and the nearest one suggested."),
    Text = fails("wsgi_apps:application", #{wrokers => 2}),
    has("wrokers", Text),
    has("workers", Text).

second_start_is_refused(_) ->
    doc("A second application in the same node is refused, the first one goes on."),
    Port = start(#{}),
    Second = hornbeam:start("wsgi_apps:application", do_options(#{})),
    ?assertMatch({error, {already_started, _}}, Second),
    ?assertEqual({200, <<"Hello">>}, fetch(Port, "/hello")).

unix_socket(Config) ->
    doc(
        "A Unix socket serves; its file is removed at the end, and a stale one does not block "
        "a start."
    ),
    Path = do_socket_path(Config),
    ok = hornbeam:start("wsgi_apps:application", do_options(#{bind => "unix:" ++ Path})),
    {ok, Socket} = gen_tcp:connect({local, Path}, 0, [local, binary, {active, false}]),
    ok = gen_tcp:send(Socket, "GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
    ?assertMatch({200, _, <<"Hello">>, _}, raw_http:response(Socket)),
    ok = hornbeam:stop(),
    ?assertNot(filelib:is_file(Path)),
    {ok, Stale} = gen_tcp:listen(0, [local, {ip, {local, Path}}]),
    ok = gen_tcp:close(Stale),
    ok = hornbeam:start("wsgi_apps:application", do_options(#{bind => "unix:" ++ Path})).

%% sun_path holds 107 bytes: the folders of a test run are too long for it.
do_socket_path(_) ->
    filename:join(os:getenv("TMPDIR", "/tmp"), "hornbeam-test-" ++ os:getpid()).

several_addresses(_) ->
    doc("A list of addresses is served by the same workers."),
    _ = start(#{bind => ["127.0.0.1:0", "127.0.0.1:0"]}),
    #{addresses := [A, B]} = hornbeam:info(),
    [?assertEqual({200, <<"Hello">>}, fetch(do_port(Address), "/")) || Address <- [A, B]].

do_port(Address) ->
    [_, Port] = string:split(Address, ":", trailing),
    binary_to_integer(Port).

environment_and_options_merge(_) ->
    doc("The application environment gives defaults; the map of start/2 wins."),
    ok = application:set_env(hornbeam, workers, 3),
    ok = application:set_env(hornbeam, threads, 2),
    try
        _ = start(#{workers => 2}),
        ?assertMatch(#{workers := [#{limit := 2}, #{limit := 2}]}, hornbeam:info())
    after
        application:unset_env(hornbeam, workers),
        application:unset_env(hornbeam, threads)
    end.

environment_of_workers(_) ->
    doc("The option env sets and unsets variables of the workers."),
    _ = do_start_env(#{"HORNBEAM_TEST" => "valeur é"}),
    ?assertEqual({200, <<"valeur é"/utf8>>}, fetch("/HORNBEAM_TEST")).

do_start_env(Env) ->
    hornbeam_case:start("env_app:application", #{env => Env}).

factory_and_attribute_specs(_) ->
    doc("module:factory() and module:obj.attr name applications, too."),
    [
        begin
            Port = hornbeam_case:start(App, #{}),
            ?assertMatch({200, _}, fetch(Port, "/PATH")),
            ok = hornbeam:stop()
        end
     || App <- ["env_app:create()", "env_app:Holder.application"]
    ].
