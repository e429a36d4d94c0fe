%% SPDX-License-Identifier: Apache-2.0
%% @doc What the suites of handlers share: the application and what it answers.
-module(hooks_case).

-export([start/2, ask/2, ask/3, execute/3, says/2, stream/3, adds/0, own_hooks/0]).
-export([file_name/0, await_closed/1, items/3, hold/1]).

-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [async/1, await/1]).

%% @doc Serve test/apps/hooks_app.py.
-spec start(pos_integer(), pos_integer()) -> inet:port_number().
start(Workers, Threads) ->
    hornbeam_case:start("hooks_app:application", #{workers => Workers, threads => Threads}).

%% @doc What an operation of the application answers.
-spec ask(string(), term()) -> binary().
ask(Operation, Arguments) -> ask(Operation, Arguments, 20000).

-spec ask(string(), term(), pos_integer()) -> binary().
ask(Operation, Arguments, Timeout) ->
    {ok, Json} = hornbeam_json:encode(Arguments),
    Query = uri_string:quote(Json),
    Request = ["GET /", Operation, "?", Query, " HTTP/1.1\r\nhost: a\r\nconnection: close\r\n",
        "x-timeout: ", integer_to_list(Timeout), "\r\n\r\n"],
    {200, _, Body, _} = raw_http:exchange(hornbeam_case:port(), Request),
    Body.

-spec execute(binary(), binary(), [term()]) -> binary().
execute(Path, Action, Arguments) -> ask("execute", [Path, Action, Arguments, #{}]).

%% @doc The answer matches the pattern.
-spec says(binary(), string()) -> ok.
says(Answer, Pattern) ->
    {match, _} = re:run(Answer, Pattern),
    ok.

-spec stream(binary(), binary(), [term()]) -> binary().
stream(Path, Action, Arguments) -> ask("stream", [Path, Action, Arguments, #{}]).

%% @doc The application executes a handler.
-spec adds() -> ok.
adds() ->
    ?assertEqual(<<"{\"ok\": 3}">>, execute(<<"service">>, <<"add">>, [1, 2])).

%% @doc Each worker gets a handler of its own; their process ids.
-spec own_hooks() -> [pos_integer()].
own_hooks() ->
    Pids = hornbeam_case:pids(),
    ok = hornbeam:register_function(meet, fun([]) -> meet() end),
    true = register(meeting, spawn_link(fun() -> meeting([]) end)),
    Waiting = [async(fun() -> ask("own_hook", []) end) || _ <- Pids],
    _ = [Wait() || Wait <- Waiting],
    Expected = [<<"pid-", (integer_to_binary(Pid))/binary>> || Pid <- Pids],
    ?assertEqual([], Expected -- maps:keys(hornbeam_hooks:info())),
    Pids.

%% @doc Register a function of this name that returns `held' as soon as the function given back has
%% been called.
-spec hold(atom()) -> Release :: fun(() -> ok).
hold(Name) ->
    Gate = spawn_link(fun() -> gate([]) end),
    ok = hornbeam:register_function(Name, fun(_) ->
        Monitor = monitor(process, Gate),
        Gate ! {hold, self()},
        receive
            release -> held;
            {'DOWN', Monitor, process, Gate, Reason} -> error(Reason)
        end
    end),
    fun() -> Gate ! release, ok end.

gate(Held) ->
    receive
        {hold, Pid} -> gate([Pid | Held]);
        release ->
            [Pid ! release || Pid <- Held],
            open_gate()
    end.

open_gate() ->
    receive {hold, Pid} -> Pid ! release, open_gate() end.

meet() ->
    meeting ! {here, self()},
    receive go -> ok after 30000 -> exit(nobody_came) end.

meeting([A, B]) -> A ! go, B ! go, meeting([]);
meeting(Here) ->
    receive {here, Pid} -> meeting([Pid | Here]) end.

-spec file_name() -> file:filename_all().
file_name() ->
    %% unique in this machine, whoever else runs these suites
    Number = integer_to_list(erlang:unique_integer([positive])),
    Name = lists:append(["hornbeam-hooks-", os:getpid(), "-", Number]),
    filename:join(os:getenv("TMPDIR", "/tmp"), Name).

%% @doc The handler that writes this file has noticed that it was closed.
-spec await_closed(file:filename_all()) -> ok.
await_closed(File) ->
    await(fun() -> file:read_file(File) =:= {ok, <<"closed">>} end),
    ok = file:delete(File).

-spec items(binary() | string(), binary() | atom(), [term()]) -> term().
items(Path, Action, Arguments) ->
    Collect = fun(Item, Items) -> {ok, [Item | Items]} end,
    case hornbeam_hooks:stream(Path, Action, Arguments, Collect, []) of
        {ok, Items} -> {ok, lists:reverse(Items)};
        Error -> Error
    end.
