%% SPDX-License-Identifier: Apache-2.0
%% @doc What the RPC tests call on other nodes, which load it. Runs in a process that erpc makes.
-module(rpc_target).

-export([echo/1, late/2, fail/2, waiting/0, wait/0, collect_log/0, logged/0, log/2]).

-spec echo(Value) -> Value when Value :: term().
echo(Value) -> Value.

%% @doc The value, milliseconds later.
-spec late(Value, non_neg_integer()) -> Value when Value :: term().
late(Value, Ms) ->
    ok = timer:sleep(Ms),
    Value.

%% @doc Fails in the way that is asked for.
-spec fail(Class :: binary(), term()) -> no_return().
fail(<<"error">>, Reason) -> error(Reason);
fail(<<"exit">>, Reason) -> exit(Reason);
fail(<<"throw">>, Reason) -> throw(Reason);
fail(<<"killed">>, _) -> exit(self(), kill).

%% @doc Does not come back; waiting/0 counts those.
-spec wait() -> no_return().
wait() ->
    receive
        never -> wait()
    end.

-spec waiting() -> non_neg_integer().
waiting() ->
    length([Pid || Pid <- processes(), {current_function, {?MODULE, wait, 0}} =:=
        process_info(Pid, current_function)]).

%% @doc From now on what the node's default handler would show is kept.
-spec collect_log() -> ok.
collect_log() ->
    Keeper = spawn(fun() -> keep([]) end),
    true = register(?MODULE, Keeper),
    {ok, #{filters := Filters}} = logger:get_handler_config(default),
    ok = logger:set_primary_config(level, info),
    ok = logger:add_handler(?MODULE, ?MODULE, #{filters => Filters, filter_default => log}).

%% @doc The callback of logger.
-spec log(logger:log_event(), term()) -> ok.
log(#{level := Level, msg := Message, meta := Meta}, _) ->
    ?MODULE ! {event, {Level, Message, maps:without([time, gl, pid], Meta)}},
    ok.

-spec logged() -> [tuple()].
logged() ->
    ?MODULE ! {all, self()},
    receive
        {logged, Events} -> Events
    after 30000 -> error(timeout)
    end.

keep(Events) ->
    receive
        {event, Event} ->
            keep([Event | Events]);
        {all, From} ->
            From ! {logged, lists:reverse(Events)},
            keep(Events)
    end.
