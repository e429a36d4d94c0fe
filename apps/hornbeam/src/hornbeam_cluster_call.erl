%% SPDX-License-Identifier: Apache-2.0
%% @doc Handlers and functions that only other nodes have, called there.
%%
%% execute/3, call/3 and stream/4 run in a process of the calling node that does nothing else: a
%% connection that is full may suspend it, and whoever waits kills it at the deadline. Each starts
%% a process on the other node, serve/4, which monitors it: when it is gone the call there
%% is revoked. Neither worker processes nor those of Erlang callers send anything to other nodes.
%%
%% A call is sent to a node only while it is connected, and to a second one only when the first has
%% answered that it does not have what is asked for any more: nothing is done twice.
-module(hornbeam_cluster_call).

-export([execute/3, call/3, stream/4]).
-export([serve/4]).

%% Items that a stream may send before more are granted.
-define(WINDOW, 16).

-type request() ::
    {execute, hornbeam_hooks_call:target(), Payload :: binary()}
    | {stream, hornbeam_hooks_call:target(), Payload :: binary(), Tag :: reference()}
    | {call, Name :: term(), Arguments :: [term()]}.

-type outcome() :: hornbeam_caller:answer() | {error, timeout | node_down} | none.

%% @doc Execute an action of a handler; `none' when no node has one. Timeout in milliseconds.
-spec execute(hornbeam_hooks_call:target(), binary(), pos_integer()) -> outcome().
execute(Target, Payload, Timeout) ->
    ask(providers(Target), {execute, Target, Payload}, Timeout, none).

%% Which of them has the labels that are wanted, each has to say itself.
providers(Target) ->
    hornbeam_cluster:providers({hook, hornbeam_hooks_call:path(Target)}).

%% @doc Call a registered function.
-spec call(term(), [term()], pos_integer()) -> outcome().
call(Name, Arguments, Timeout) when is_binary(Name) ->
    ask(hornbeam_cluster:providers({function, Name}), {call, Name, Arguments}, Timeout, none);
call(_, _, _) ->
    none.

%% @doc Execute an action as a stream: Emit is called with each item, encoded, and may wait. Timeout
%% is for each of them.
-spec stream(hornbeam_hooks_call:target(), binary(), pos_integer(), fun((binary()) -> _)) ->
    outcome().
stream(Target, Payload, Timeout, Emit) ->
    ask(providers(Target), {stream, Target, Payload, make_ref()}, Timeout, Emit).

ask([], _, _, _) ->
    none;
ask([Provider | Others], Request, Timeout, Emit) ->
    Node = node(Provider),
    Arguments = [self(), Request, hornbeam_caller:chain(), Timeout],
    Options = [monitor, {reply, error_only}],
    Id = erlang:spawn_request(Node, ?MODULE, serve, Arguments, Options),
    case await(Id, Request, Emit, 0) of
        none -> ask(Others, Request, Timeout, Emit);
        noconnection -> node_down(Node);
        Outcome -> Outcome
    end.

%% No deadline: whoever waits for this process kills it, and the end of the connection ends this.
await(Id, Request, Emit, Used) ->
    Tag = tag(Request),
    receive
        {Tag, Pid, Item} ->
            _ = Emit(Item),
            await(Id, Request, Emit, granted(Pid, Tag, Used + 1));
        {'DOWN', Id, process, _, {outcome, Outcome}} ->
            Outcome;
        {'DOWN', Id, process, _, noconnection} ->
            noconnection;
        {'DOWN', Id, process, _, Reason} ->
            hornbeam_task:killed(Reason);
        {spawn_reply, Id, error, noconnection} ->
            noconnection;
        {spawn_reply, Id, error, Reason} ->
            hornbeam_task:killed(Reason)
    end.

tag({stream, _, _, Tag}) -> Tag;
tag(_) -> none.

%% Half a window at a time.
granted(Pid, Tag, Used) when Used * 2 >= ?WINDOW ->
    Pid ! {Tag, credit, Used},
    0;
granted(_, _, Used) ->
    Used.

node_down(Node) ->
    Details = #{node => atom_to_binary(Node), reason => <<"the connection to it has ended">>},
    {fault, <<"node_down">>, term_to_binary(Details)}.

%%% On the node that has it

%% @doc The whole life of the process that serves a request of another node: its exit reason is the
%% answer. What it does ends with the caller.
-spec serve(pid(), request(), hornbeam_caller:chain(), pos_integer()) -> no_return().
serve(Caller, Request, Chain, Timeout) ->
    ok = print_here(),
    ok = hornbeam_caller:set_chain(Chain),
    Watch = monitor(process, Caller),
    exit({outcome, outcome(Request, Caller, Timeout, Watch)}).

%% Output and log events belong to the node where the work is done.
print_here() ->
    {group_leader, Leader} = process_info(whereis(hornbeam_cluster), group_leader),
    true = group_leader(Leader, self()),
    ok.

outcome({execute, Target, Payload}, _, Timeout, Watch) ->
    hornbeam_hooks_call:execute_here(Target, Payload, Timeout, Watch);
outcome({call, Name, Arguments}, _, Timeout, Watch) ->
    case hornbeam_functions:is_registered(Name) of
        true -> hornbeam_functions:call_here(Name, Arguments, Timeout, Watch);
        false -> none
    end;
outcome({stream, Target, Payload, Tag}, Caller, Timeout, Watch) ->
    Send = fun(Item, Credit) ->
        Caller ! {Tag, self(), Item},
        spent(Tag, Credit - 1, Watch)
    end,
    case hornbeam_hooks_call:stream_here(Target, Payload, {Timeout, Watch}, {Send, ?WINDOW}) of
        {ok, _} -> over();
        Outcome -> Outcome
    end.

%% The answer to a stream that has no more items.
over() ->
    hornbeam_services:stripped(hornbeam_services:attempt(0, fun() -> {ok, undefined} end)).

%% Waits for as long as the caller is there.
spent(Tag, 0, Watch) ->
    receive
        {Tag, credit, Items} -> {ok, Items};
        {'DOWN', Watch, process, _, _} -> {stop, 0}
    end;
spent(Tag, Credit, _) ->
    receive
        {Tag, credit, Items} -> {ok, Credit + Items}
    after 0 -> {ok, Credit}
    end.
