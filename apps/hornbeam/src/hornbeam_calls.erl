%% SPDX-License-Identifier: Apache-2.0
%% @doc Calls and streams between a node and one worker, in both directions, any number at once.
%%
%% Runs in the worker process, which owns the state; callers use `hornbeam_caller'. A service
%% called by the worker runs here if its work is bounded, else in a process of its own
%% (`hornbeam_services') with a timer for the caller's deadline. A call of a handler that lives in
%% a worker goes straight to the process of that worker, its payload undecoded, and the answer
%% comes straight back. A late answer meets no entry and is dropped.
-module(hornbeam_calls).

-export([new/0, new/2, incarnation/1, count/1, handle/3, event/3, ready/1, down/3, fail_all/1]).
-export_type([state/0, event/0, from/0, phase/0, key/0]).

-include("hornbeam_wire.hrl").

%% A call of a worker. Its ids start anew with each process; what is late for an earlier one must
%% not reach a call of the next.
-type key() :: {Incarnation :: reference(), hornbeam_wire:call_id()}.

%% Who asked: a process of the node, or a worker by its own call.
-type from() :: {alias, reference()} | {call, pid(), key()}.

%% `draining' and `down', which may be loading its application, take no new work, but what is done
%% for their own calls; other calls of handlers wait for the next process of the worker, or until it
%% is ready.
-type phase() :: up | draining | down.

-type event() ::
    {call, from(), hornbeam_caller:chain(), pos_integer(), Service :: binary(), Payload :: binary()}
    %% A call (or stream) of a handler, counted in the load of the worker by whoever sends it.
    | {hook, ?CALL | ?STREAM, from(), hornbeam_caller:chain(), pos_integer(), binary(), binary()}
    | {cast, binary(), binary()}
    | {revoke, from()}
    | {credit, from(), Items :: pos_integer()}
    | {item, key(), Payload :: binary()}
    | {done, key(), hornbeam_wire:message()}
    | {deadline, key()}.

-record(calling, {
    from :: from(),
    chain :: hornbeam_caller:chain(),
    %% of a stream: items that the worker may still send
    credit = none :: none | non_neg_integer(),
    is_hook = false :: boolean()
}).

-record(state, {
    incarnation = make_ref() :: reference(),
    %% where the handlers' calls that are open are counted
    counter = none :: none | hornbeam_pool:counter(),
    %% whether another process of the worker follows this one
    next = again :: again | never,
    last_id = 0 :: non_neg_integer(),
    %% our calls, by id, and their ids by who asked
    calling = #{} :: #{hornbeam_wire:call_id() => #calling{}},
    ids = #{} :: #{from() => hornbeam_wire:call_id()},
    %% streams of ours that were given up and not answered yet: their items may have crossed that
    revoked = #{} :: #{hornbeam_wire:call_id() => []},
    %% calls of handlers that wait for the next process, newest first
    held = [] :: [event()],
    %% the worker's calls, by id
    serving = hornbeam_calls_served:new() :: hornbeam_calls_served:calls(),
    %% highest id of a call of the worker
    seen = 0 :: non_neg_integer()
}).
-opaque state() :: #state{}.

-type messages() :: [hornbeam_wire:message()].

-define(MOST_OPEN, 65536).
-define(WINDOW, 16).

-spec new() -> state().
new() -> new(none, again).

%% @doc For the next operating-system process of a worker, and whether it is the last. Counter: see
%% `hornbeam_pool:calls/2'.
-spec new(none | hornbeam_pool:counter(), again | never) -> state().
new(Counter, Next) -> #state{counter = Counter, next = Next}.

%% @doc Which process of the worker this is, as chains name it.
-spec incarnation(state()) -> reference().
incarnation(#state{incarnation = Incarnation}) -> Incarnation.

%% @doc Calls of ours that the worker has not answered.
-spec count(state()) -> non_neg_integer().
count(#state{calling = Calling}) -> map_size(Calling).

%%% What the worker says

%% @doc A message of the worker about a call; the messages are answers for it.
-spec handle(hornbeam_wire:message(), Worker :: pid(), state()) ->
    {ok, messages(), state()} | {error, hornbeam_wire:error()}.
handle({?RESULT, Id, Payload}, _, State) ->
    {ok, [], answered(Id, {result, Payload}, State)};
handle({?FAULT, Id, Name, Payload}, _, State) ->
    {ok, [], answered(Id, {fault, Name, Payload}, State)};
handle({?ITEM, Id, Payload}, _, #state{calling = Calling} = State) ->
    item(Id, Payload, Calling, State);
handle({Code, Id, Origin, Timeout, Service, Payload}, Worker, State) when
    Code =:= ?CALL; Code =:= ?STREAM
->
    #state{seen = Seen, serving = Serving} = State,
    case Id > Seen andalso hornbeam_calls_served:size(Serving) < ?MOST_OPEN of
        true ->
            Request = {Code, Id, Timeout, Service, Payload},
            serve(Request, Origin, Worker, State#state{seen = Id});
        false when Id > Seen ->
            {ok, [fault_message(Id, <<"overloaded">>)], State#state{seen = Id}};
        false ->
            bad_state(<<"call ", (integer_to_binary(Id))/binary, " reuses an id">>)
    end;
handle({?CAST, Service, Payload}, Worker, State) ->
    ok = hornbeam_services:cast(Worker, Service, Payload),
    {ok, [], State};
handle({?REVOKE, Id}, _, State) ->
    {Messages, State1} = stop(Id, <<"cancelled">>, State),
    {ok, Messages, State1};
handle({?ITEM_CREDIT, Id, Items}, Worker, State) ->
    credited(Id, Items, Worker, State);
handle(Message, _, _) ->
    bad_state(<<"message ", (integer_to_binary(element(1, Message)))/binary>>).

bad_state(Text) -> {error, {bad_state, Text}}.

%% Unknown ids are calls that were given up: the answer crossed the revocation.
answered(Id, Answer, State) ->
    case take(Id, State) of
        {#calling{from = From}, Rest} ->
            ok = tell(From, Answer),
            Rest;
        error ->
            State#state{revoked = maps:remove(Id, State#state.revoked)}
    end.

take(Id, #state{calling = Calling, ids = Ids} = State) ->
    case maps:take(Id, Calling) of
        {#calling{from = From, is_hook = IsHook} = Call, Rest} ->
            ok = uncount(one(IsHook), State),
            {Call, State#state{calling = Rest, ids = maps:remove(From, Ids)}};
        error ->
            error
    end.

one(true) -> 1;
one(false) -> 0.

uncount(0, _) -> ok;
uncount(_, #state{counter = none}) -> ok;
uncount(N, #state{counter = Counter}) -> hornbeam_pool:count(-N, Counter).

tell({alias, Ref}, Answer) ->
    Ref ! {Ref, Answer},
    ok;
tell({call, Pid, Key}, {item, Payload}) ->
    Pid ! {hornbeam_calls, {item, Key, Payload}},
    ok;
tell({call, Pid, {_, Id} = Key}, {result, Payload}) ->
    Pid ! {hornbeam_calls, {done, Key, {?RESULT, Id, Payload}}},
    ok;
tell({call, Pid, {_, Id} = Key}, {fault, Name, Payload}) ->
    Pid ! {hornbeam_calls, {done, Key, {?FAULT, Id, Name, Payload}}},
    ok.

item(Id, Payload, Calling, State) ->
    case Calling of
        #{Id := #calling{credit = Credit, from = From} = Call} when
            is_integer(Credit), Credit > 0
        ->
            ok = tell(From, {item, Payload}),
            {ok, [], State#state{calling = Calling#{Id := Call#calling{credit = Credit - 1}}}};
        _ when is_map_key(Id, State#state.revoked) ->
            {ok, [], State};
        #{Id := #calling{}} ->
            bad_state(<<"item of call ", (integer_to_binary(Id))/binary, " without credit">>);
        _ ->
            bad_state(<<"item of ", (integer_to_binary(Id))/binary, ", which is no open stream">>)
    end.

%% Where a call of the worker is served: a handler in a worker, or a service of the node.
serve({_, _, _, <<"execute/", Path/binary>>, _} = Request, Origin, Worker, State) ->
    executed(hornbeam_hooks_table:choose(Path, Worker), Path, Request, {Origin, Worker}, State);
serve({_, _, _, <<"execute?", Target/binary>>, _} = Request, Origin, Worker, State) ->
    {Path, Labels} = hornbeam_labels:split(Target),
    Chosen = hornbeam_hooks_table:choose(Path, Labels, Worker),
    executed(Chosen, Path, Request, {Origin, Worker}, State);
serve({Code, Id, Timeout, Service, Payload}, Origin, Worker, State) ->
    Chain = chain(Id, Origin, Worker, State),
    Context = hornbeam_services:context(Service, Chain, Origin, Timeout),
    run(Code, Id, Timeout, Context, Payload, State).

executed({ok, Provider}, Path, {Code, Id, Timeout, _, Payload}, {Origin, Worker}, State) ->
    Chain = chain(Id, Origin, Worker, State),
    From = {call, Worker, {State#state.incarnation, Id}},
    Hook = {hook, Code, From, Chain, Timeout, <<"hook/", Path/binary>>, Payload},
    Provider ! {hornbeam_calls, Hook},
    {ok, [], serving(Id, {worker, Provider}, Code, Timeout, Worker, State)};
executed(none, _, {Code, Id, Timeout, Service, Payload}, {Origin, Worker}, State) ->
    Chain = chain(Id, Origin, Worker, State),
    Context = hornbeam_services:context(Service, Chain, Origin, Timeout),
    run(Code, Id, Timeout, Context, Payload, State).

run(Code, Id, Timeout, #{worker := Worker} = Context, Payload, State) ->
    case hornbeam_services:call(Code, Context, Payload) of
        {done, Answer} ->
            {ok, [Answer], State};
        {running, Pid, Monitor} ->
            {ok, [], serving(Id, {process, Pid, Monitor}, Code, Timeout, Worker, State)}
    end.

serving(Id, By, Code, Timeout, Worker, #state{serving = Serving} = State) ->
    Key = {State#state.incarnation, Id},
    State#state{
        serving = hornbeam_calls_served:add(Key, By, Code, Timeout, Worker, Serving)
    }.

%% The calls of which this one is a part: it, and those in whose service it is made.
chain(Id, Origin, Worker, #state{incarnation = Incarnation, calling = Calling}) ->
    Own = {Worker, Incarnation, Id},
    case Origin < 0 andalso maps:find(-Origin, Calling) of
        {ok, #calling{chain = Outer}} -> [Own | Outer];
        _ -> [Own]
    end.

%% For a stream that is over: the credit crossed its end.
credited(Id, Items, Worker, #state{serving = Serving, seen = Seen} = State) ->
    Key = {State#state.incarnation, Id},
    case hornbeam_calls_served:credit(Key, Items, Worker, Serving) of
        {ok, Granted} ->
            {ok, [], State#state{serving = Granted}};
        not_open when Id =< Seen ->
            {ok, [], State};
        _ ->
            bad_state(<<"credit for ", (integer_to_binary(Id))/binary, ", which is no stream">>)
    end.

%%% What happens on the node

%% @doc An event of a caller, of a service or of a timer.
-spec event(event(), phase(), state()) -> {messages(), state()}.
event({call, From, Chain, Timeout, Service, Payload}, Phase, State) ->
    case Phase =/= down orelse origin(Chain, State) > 0 of
        true ->
            call(?CALL, #calling{from = From, chain = Chain}, {Timeout, Service, Payload}, State);
        false ->
            ok = tell(From, hornbeam_services:node_down()),
            {[], State}
    end;
event({hook, Code, From, Chain, Timeout, Service, Payload} = Event, Phase, State) ->
    case Phase =:= up orelse origin(Chain, State) > 0 of
        true ->
            Credit = proplists:get_value(Code, [{?STREAM, ?WINDOW}], none),
            Call = #calling{from = From, chain = Chain, credit = Credit, is_hook = true},
            call(Code, Call, {Timeout, Service, Payload}, State);
        false when State#state.next =:= again ->
            {[], State#state{held = [Event | State#state.held]}};
        false ->
            ok = uncount(1, State),
            ok = tell(From, hornbeam_services:node_down()),
            {[], State}
    end;
event({cast, _, _}, down, State) ->
    {[], State};
event({cast, Service, Payload}, _, State) ->
    {[{?CAST, Service, Payload}], State};
event({revoke, From}, _, State) ->
    revoke(From, State);
event({credit, From, Items}, _, #state{ids = Ids} = State) ->
    case Ids of
        #{From := Id} -> grant(Id, Items, State);
        #{} -> {[], State}
    end;
%% What is for an earlier process comes to nothing.
event({item, {Now, Id}, Payload}, _, #state{incarnation = Now, serving = Serving} = State) ->
    case hornbeam_calls_served:item(Id, Serving) of
        {ok, Left} -> {[{?ITEM, Id, Payload}], State#state{serving = Left}};
        error -> {[], State}
    end;
event({done, {Now, Id}, Message}, _, #state{incarnation = Now, serving = Serving} = State) ->
    case hornbeam_calls_served:done(Id, Serving) of
        {ok, Left} -> {[Message], State#state{serving = Left}};
        error -> {[], State}
    end;
event({deadline, {Now, Id}}, _, #state{incarnation = Now} = State) ->
    stop(Id, <<"timeout">>, State);
event({_, {Before, _}, _}, _, State) when is_reference(Before) ->
    {[], State};
event({deadline, _}, _, State) ->
    {[], State}.

call(_, #calling{from = From, is_hook = IsHook}, _, #state{calling = Calling} = State) when
    map_size(Calling) >= ?MOST_OPEN
->
    ok = uncount(one(IsHook), State),
    Details = #{resource => <<"open calls of a worker">>, limit => ?MOST_OPEN},
    ok = tell(From, {fault, <<"overloaded">>, term_to_binary(Details)}),
    {[], State};
call(Code, #calling{from = From, chain = Chain} = Call, {Timeout, Service, Payload}, State) ->
    #state{last_id = Last, calling = Calling, ids = Ids} = State,
    Id = Last + 1,
    {[{Code, Id, origin(Chain, State), Timeout, Service, Payload}],
        State#state{last_id = Id, calling = Calling#{Id => Call}, ids = Ids#{From => Id}}}.

%% The worker's own call in whose service this is: the thread that waits for it runs what comes.
origin(Chain, #state{incarnation = Incarnation}) ->
    case lists:keyfind(Incarnation, 2, Chain) of
        {_, _, Id} -> Id;
        false -> 0
    end.

grant(Id, Items, #state{calling = Calling} = State) ->
    case Calling of
        #{Id := #calling{credit = Credit} = Call} when is_integer(Credit) ->
            Granted = Calling#{Id := Call#calling{credit = Credit + Items}},
            {[{?ITEM_CREDIT, Id, Items}], State#state{calling = Granted}};
        #{} ->
            {[], State}
    end.

revoke(From, #state{ids = Ids, held = Held} = State) ->
    case Ids of
        #{From := Id} ->
            {#calling{credit = Credit}, Rest} = take(Id, State),
            Revoked = maps:from_list([{Id, []} || is_integer(Credit)]),
            {[{?REVOKE, Id}], Rest#state{revoked = maps:merge(Rest#state.revoked, Revoked)}};
        #{} ->
            Kept = [Event || Event <- Held, element(3, Event) =/= From],
            ok = uncount(length(Held) - length(Kept), State),
            {[], State#state{held = Kept}}
    end.

%% @doc There is a process that takes work: what waited for it goes out, in the order it came.
-spec ready(state()) -> {messages(), state()}.
ready(#state{held = []} = State) ->
    {[], State};
ready(#state{held = Held} = State) ->
    Out = fun(Event, Before) -> event(Event, up, Before) end,
    {Messages, After} = lists:mapfoldl(Out, State#state{held = []}, lists:reverse(Held)),
    {lists:append(Messages), After}.

%% What serves a call is stopped at its caller's deadline: nobody waits for it any more.
stop(Id, Name, #state{incarnation = Incarnation, serving = Serving} = State) ->
    case hornbeam_calls_served:stop({Incarnation, Id}, Serving) of
        {ok, Left} -> {[fault_message(Id, Name)], State#state{serving = Left}};
        error -> {[], State}
    end.

%% @doc The process of a service ended without an answer: somebody killed it.
-spec down(pid(), Reason :: term(), state()) -> {messages(), state()}.
down(Pid, Reason, #state{serving = Serving} = State) ->
    case hornbeam_calls_served:down(Pid, Serving) of
        {ok, Id, Left} ->
            Fault = hornbeam_services:remote_error(Id, exit, Reason, []),
            {[Fault], State#state{serving = Left}};
        error ->
            {[], State}
    end.

fault_message(Id, Name) ->
    {?FAULT, Id, Name, term_to_binary(#{})}.

%% @doc The worker is gone: callers get `node_down', what serves it is stopped.
-spec fail_all(state()) -> ok.
fail_all(#state{calling = Calling, held = Held, serving = Serving} = State) ->
    Hooks = [From || #calling{from = From, is_hook = true} <- maps:values(Calling)],
    Others = [From || #calling{from = From, is_hook = false} <- maps:values(Calling)],
    Waiting = [element(3, Event) || Event <- Held],
    ok = uncount(length(Hooks) + length(Waiting), State),
    NodeDown = hornbeam_services:node_down(),
    lists:foreach(fun(From) -> tell(From, NodeDown) end, Hooks ++ Others ++ Waiting),
    hornbeam_calls_served:stop_all(State#state.incarnation, Serving).
