%% SPDX-License-Identifier: Apache-2.0
%% @doc Whatever happens to a worker's calls in whatever order: each caller is answered exactly
%% once, the load is what is open, ids grow, and nothing crashes. This process is the worker
%% process; callers are aliases of its own.
-module(hornbeam_calls_prop_tests).

-include_lib("eunit/include/eunit.hrl").
-include("hornbeam_wire.hrl").
-include("properties.hrl").

-record(model, {
    calls :: hornbeam_calls:state(),
    pool :: hornbeam_pool:pool(),
    phase = up :: hornbeam_calls:phase(),
    %% callers that wait, and those that were answered or gave up
    waiting = [] :: [reference()],
    over = [] :: [reference()],
    %% ids that the worker was sent, the newest first, and those it has not answered
    sent = [] :: [pos_integer()],
    open = [] :: [pos_integer()]
}).

every_caller_is_answered_once_test_() ->
    {setup, fun start/0, fun stop/1, fun(Pool) -> ?PROPERTY(prop_calls(Pool)) end}.

start() -> hornbeam_pool:new(?MODULE, #{size => 1, queue_limit => 0, queue_timeout => 1}).

stop(_) -> hornbeam_pool:delete(?MODULE).

%% The numbers choose among what is open, whatever that is.
step() ->
    N = range(0, 50),
    oneof([
        {ask, ?CALL}, {ask, ?STREAM}, {result, N}, {fault, N}, {item, N}, {credit, N}, {revoke, N},
        {phase, oneof([up, draining, down])}, die
    ]).

prop_calls(Pool) ->
    ?FORALL(Steps, list(step()), begin
        ok = hornbeam_pool:set_worker(1, self(), Pool),
        Calls = hornbeam_calls:new(hornbeam_pool:calls(1, Pool), again),
        Last = lists:foldl(fun step/2, #model{calls = Calls, pool = Pool}, Steps),
        #model{waiting = Waiting, over = Over, sent = Sent} = End = step(die, Last),
        Waiting =:= [] andalso hornbeam_pool:busy(1, Pool) =:= 0 andalso
            lists:all(fun(Ref) -> answers(Ref) =< 1 end, Over) andalso grow(Sent) andalso
            is_record(End, model)
    end).

grow(Ids) -> lists:usort(Ids) =:= lists:reverse(Ids).

%% Answers of a caller that have come, items not counted.
answers(Ref) ->
    receive
        {Ref, {item, _}} -> answers(Ref);
        {Ref, _} -> 1 + answers(Ref)
    after 0 -> 0
    end.

step({ask, Code}, #model{pool = Pool, waiting = Waiting} = M) ->
    Ref = alias(),
    ok = hornbeam_pool:count(1, hornbeam_pool:calls(1, Pool)),
    Hook = {hook, Code, {alias, Ref}, [], 5000, <<"hook/h">>, <<"p">>},
    event(Hook, M#model{waiting = [Ref | Waiting]});
step({result, N}, M) ->
    answer(fun(Id) -> {?RESULT, Id, <<131, 106>>} end, N, M);
step({fault, N}, M) ->
    answer(fun(Id) -> {?FAULT, Id, <<"handler_error">>, <<131, 116, 0, 0, 0, 0>>} end, N, M);
step({item, N}, #model{open = Open, calls = Calls} = M) when Open =/= [] ->
    %% Legal for a stream with credit, refused for what is none: never a crash.
    case hornbeam_calls:handle({?ITEM, pick(N, Open), <<131, 106>>}, self(), Calls) of
        {ok, [], Next} -> settle(M#model{calls = Next});
        {error, {bad_state, _}} -> M
    end;
step({credit, N}, #model{waiting = Waiting} = M) when Waiting =/= [] ->
    event({credit, {alias, pick(N, Waiting)}, 1}, M);
step({revoke, N}, #model{waiting = Waiting, over = Over} = M) when Waiting =/= [] ->
    Ref = pick(N, Waiting),
    0 = answers(Ref),
    Gone = M#model{waiting = lists:delete(Ref, Waiting), over = [Ref | Over]},
    event({revoke, {alias, Ref}}, Gone);
step({phase, up}, #model{calls = Calls} = M) ->
    said(hornbeam_calls:ready(Calls), M#model{phase = up});
step({phase, Phase}, M) ->
    M#model{phase = Phase};
step(die, #model{calls = Calls, pool = Pool} = M) ->
    ok = hornbeam_calls:fail_all(Calls),
    Next = hornbeam_calls:new(hornbeam_pool:calls(1, Pool), again),
    settle(M#model{calls = Next, sent = [], open = []});
step(_, M) ->
    M.

pick(N, List) -> lists:nth(1 + N rem length(List), List).

answer(_, _, #model{open = []} = M) ->
    M;
answer(Message, N, #model{open = Open, calls = Calls} = M) ->
    Id = pick(N, Open),
    {ok, [], Next} = hornbeam_calls:handle(Message(Id), self(), Calls),
    settle(M#model{calls = Next, open = lists:delete(Id, Open)}).

event(Event, #model{calls = Calls, phase = Phase} = M) ->
    said(hornbeam_calls:event(Event, Phase, Calls), M).

said({Messages, Calls}, #model{sent = Sent, open = Open} = M) ->
    Ids = [element(2, Message) || Message <- Messages, is_new(Message)],
    settle(M#model{
        calls = Calls, sent = lists:reverse(Ids) ++ Sent, open = Ids ++ Open
    }).

is_new(Message) -> element(1, Message) =:= ?CALL orelse element(1, Message) =:= ?STREAM.

%% Callers whose answer is there wait no more; what they have beyond it is looked at in the end.
settle(#model{waiting = Waiting, over = Over} = M) ->
    {Answered, Still} = lists:partition(fun has_answer/1, Waiting),
    M#model{waiting = Still, over = Answered ++ Over}.

%% Looks without taking the answer.
has_answer(Ref) ->
    {messages, Messages} = process_info(self(), messages),
    lists:any(
        fun
            ({R, {item, _}}) when R =:= Ref -> false;
            ({R, _}) -> R =:= Ref;
            (_) -> false
        end,
        Messages
    ).
