%% SPDX-License-Identifier: Apache-2.0
%% @doc Calls between a node and one worker, in both directions, any number at once.
%%
%% call/4 and cast/3 run in the calling process; everything else in the worker process, which owns
%% the state. A service called by the worker runs here if its work is bounded, else in a process of
%% its own (`hornbeam_services') with a timer for the caller's deadline; a late answer meets no
%% entry and is dropped.
-module(hornbeam_calls).

-export([call/4, cast/3]).
-export([new/0, handle/3, event/3, down/3, fail_all/1]).
-export_type([state/0, fault/0, event/0]).

-include("hornbeam_wire.hrl").

%% Name and details of FAULT, PROTOCOL.md section 4.3; or no worker to call, or no answer in time.
-type fault() :: {Name :: binary(), Details :: term()} | timeout | node_down | too_large | bad_term.

-type event() ::
    {call, From :: reference(), pid(), Origin :: non_neg_integer(), timeout(), binary(), binary()}
    | {cast, binary(), binary()}
    | {revoke, reference()}
    | {done, hornbeam_wire:call_id(), hornbeam_wire:message()}
    | {deadline, hornbeam_wire:call_id()}.

-record(state, {
    last_id = 0 :: non_neg_integer(),
    %% our calls, by id: the alias that waits
    calling = #{} :: #{hornbeam_wire:call_id() => reference()},
    %% the worker's calls, by id: process, monitor, timer
    serving = #{} :: #{hornbeam_wire:call_id() => {pid(), reference(), reference()}},
    %% highest id of a call of the worker
    seen = 0 :: non_neg_integer()
}).
-opaque state() :: #state{}.

-define(MOST_OPEN, 65536).

%% @doc See `hornbeam_worker:call/4'.
-spec call(pid(), binary(), [term()], pos_integer()) -> {ok, term()} | {error, fault()}.
call(Worker, Service, Arguments, Timeout) ->
    case hornbeam_wire:encode_value([Arguments, #{}]) of
        {ok, Payload} ->
            Ref = monitor(process, Worker, [{alias, reply_demonitor}]),
            Call = {call, Ref, self(), origin(Worker), Timeout, Service, Payload},
            Worker ! {hornbeam_calls, Call},
            await(Ref, Worker, Timeout);
        {error, too_large} ->
            {error, too_large}
    end.

%% Set by `hornbeam_services' in the process of a service.
origin(Worker) ->
    case get(hornbeam_origin) of
        {Worker, Id} -> Id;
        _ -> 0
    end.

await(Ref, Worker, Timeout) ->
    receive
        {Ref, Answer} -> Answer;
        {'DOWN', Ref, process, _, _} -> {error, node_down}
    after Timeout ->
        %% From here on the alias is dead: an answer on its way is dropped.
        _ = demonitor(Ref, [flush]),
        Worker ! {hornbeam_calls, {revoke, Ref}},
        receive
            {Ref, Answer} -> Answer
        after 0 -> {error, timeout}
        end
    end.

%% @doc See `hornbeam_worker:cast/3'.
-spec cast(pid(), binary(), [term()]) -> ok | {error, too_large}.
cast(Worker, Service, Arguments) ->
    case hornbeam_wire:encode_value([Arguments, #{}]) of
        {ok, Payload} ->
            Worker ! {hornbeam_calls, {cast, Service, Payload}},
            ok;
        {error, too_large} = Error ->
            Error
    end.

-spec new() -> state().
new() -> #state{}.

%% @doc A message of the worker about a call; the messages are answers for it.
-spec handle(hornbeam_wire:message(), Worker :: pid(), state()) ->
    {ok, [hornbeam_wire:message()], state()} | {error, hornbeam_wire:error()}.
handle({?RESULT, Id, Payload}, _, State) ->
    {ok, [], answered(Id, result(Payload), State)};
handle({?FAULT, Id, Name, Payload}, _, State) ->
    {ok, [], answered(Id, {error, fault(Name, Payload)}, State)};
handle({?CALL, Id, _, _, _, _}, _, #state{seen = Seen}) when Id =< Seen ->
    {error, {bad_state, <<"call ", (integer_to_binary(Id))/binary, " reuses an id">>}};
handle({?CALL, Id, _, _, _, _}, _, #state{serving = Serving} = State) when
    map_size(Serving) >= ?MOST_OPEN
->
    {ok, [fault_message(Id, <<"overloaded">>)], State#state{seen = Id}};
handle({?CALL, Id, Origin, Timeout, Service, Payload}, Worker, #state{serving = Serving} = State) ->
    case hornbeam_services:call(Worker, Id, Origin, Service, Payload) of
        {done, Answer} ->
            {ok, [Answer], State#state{seen = Id}};
        {running, Pid, Monitor} ->
            Timer = erlang:send_after(Timeout, Worker, {hornbeam_calls, {deadline, Id}}),
            {ok, [], State#state{seen = Id, serving = Serving#{Id => {Pid, Monitor, Timer}}}}
    end;
handle({?CAST, Service, Payload}, Worker, State) ->
    ok = hornbeam_services:cast(Worker, Service, Payload),
    {ok, [], State};
handle({?REVOKE, Id}, _, State) ->
    {Messages, State1} = stop(Id, <<"cancelled">>, State),
    {ok, Messages, State1};
handle(Message, _, _) ->
    {error, {bad_state, <<"message ", (integer_to_binary(element(1, Message)))/binary>>}}.

%% Unknown ids are calls that were given up: the answer crossed the revocation.
answered(Id, Answer, #state{calling = Calling} = State) ->
    case maps:take(Id, Calling) of
        {Ref, Rest} ->
            Ref ! {Ref, Answer},
            State#state{calling = Rest};
        error ->
            State
    end.

result(Payload) ->
    case hornbeam_wire:decode_value(Payload) of
        {ok, Value} -> {ok, Value};
        {error, bad_term} -> {error, bad_term}
    end.

fault(Name, Payload) ->
    case hornbeam_wire:decode_value(Payload) of
        {ok, Details} -> {Name, Details};
        {error, bad_term} -> {Name, #{}}
    end.

%% @doc An event of a caller, of a service or of a timer; Up tells whether there is a worker to
%% talk to.
-spec event(event(), Up :: boolean(), state()) -> {[hornbeam_wire:message()], state()}.
event({call, Ref, _, _, _, _, _}, false, State) ->
    Ref ! {Ref, {error, node_down}},
    {[], State};
event({call, Ref, _Pid, Origin, Timeout, Service, Payload}, true, State) ->
    #state{last_id = Last, calling = Calling} = State,
    Id = Last + 1,
    {[{?CALL, Id, Origin, Timeout, Service, Payload}],
        State#state{last_id = Id, calling = Calling#{Id => Ref}}};
event({cast, _, _}, false, State) ->
    {[], State};
event({cast, Service, Payload}, true, State) ->
    {[{?CAST, Service, Payload}], State};
event({revoke, Ref}, _, #state{calling = Calling} = State) ->
    case [Id || {Id, R} <- maps:to_list(Calling), R =:= Ref] of
        [Id] -> {[{?REVOKE, Id}], State#state{calling = maps:remove(Id, Calling)}};
        [] -> {[], State}
    end;
event({done, Id, Message}, _, #state{serving = Serving} = State) ->
    case maps:take(Id, Serving) of
        {Entry, Rest} ->
            forget(Entry),
            {[Message], State#state{serving = Rest}};
        error ->
            {[], State}
    end;
event({deadline, Id}, _, State) ->
    stop(Id, <<"timeout">>, State).

%% A service is stopped at its caller's deadline: nobody waits for it any more.
stop(Id, Name, #state{serving = Serving} = State) ->
    case maps:take(Id, Serving) of
        {{Pid, _, _} = Entry, Rest} ->
            forget(Entry),
            exit(Pid, kill),
            {[fault_message(Id, Name)], State#state{serving = Rest}};
        error ->
            {[], State}
    end.

forget({_, Monitor, Timer}) ->
    _ = erlang:cancel_timer(Timer, [{async, true}, {info, false}]),
    _ = demonitor(Monitor, [flush]),
    ok.

%% @doc The process of a service ended without an answer: somebody killed it.
-spec down(pid(), Reason :: term(), state()) -> {[hornbeam_wire:message()], state()}.
down(Pid, Reason, #state{serving = Serving} = State) ->
    case [Id || {Id, {P, _, _}} <- maps:to_list(Serving), P =:= Pid] of
        [Id] ->
            #{Id := Entry} = Serving,
            forget(Entry),
            Fault = hornbeam_services:remote_error(Id, exit, Reason, []),
            {[Fault], State#state{serving = maps:remove(Id, Serving)}};
        [] ->
            {[], State}
    end.

fault_message(Id, Name) ->
    {?FAULT, Id, Name, term_to_binary(#{})}.

%% @doc The worker is gone: callers get `node_down', services are stopped.
-spec fail_all(state()) -> ok.
fail_all(#state{calling = Calling, serving = Serving}) ->
    lists:foreach(fun(Ref) -> Ref ! {Ref, {error, node_down}} end, maps:values(Calling)),
    lists:foreach(
        fun({Pid, _, _} = Entry) ->
            forget(Entry),
            exit(Pid, kill)
        end,
        maps:values(Serving)
    ).
