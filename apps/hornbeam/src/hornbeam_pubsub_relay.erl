%% SPDX-License-Identifier: Apache-2.0
%% @doc Publish and subscribe between nodes. A process on every node hands what others publish to
%% the subscribers of its own node and answers with their number.
%%
%% In the `pg' scope `hornbeam_pubsub' it is a member of `{topic, Topic}' while its node has a
%% subscription to that topic, and of `prefixes' while it has one by prefix: a node is sent only
%% what may concern it. The other functions run in the caller.
-module(hornbeam_pubsub_relay).
-behaviour(gen_server).

-export([start_link/0, scope/0, join/1, leave/1, interested/1, publish/4]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(SCOPE, hornbeam_pubsub).

-spec start_link() -> {ok, pid()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec scope() -> ?SCOPE.
scope() ->
    ?SCOPE.

%% @doc The node has a first subscription to the channel.
-spec join(hornbeam_pubsub:channel()) -> ok.
join(Channel) ->
    pg:join(?SCOPE, group(Channel), whereis(?MODULE)).

%% @doc The node has no subscription to the channel any more.
-spec leave(hornbeam_pubsub:channel()) -> ok.
leave(Channel) ->
    _ = pg:leave(?SCOPE, group(Channel), whereis(?MODULE)),
    ok.

%% A process may join a group several times: once for each prefix.
group({topic, _} = Channel) -> Channel;
group({prefix, _}) -> prefixes.

%% @doc The relays of other nodes that a message to the topic may concern.
-spec interested(binary()) -> [pid()].
interested(Topic) ->
    Members = pg:get_members(?SCOPE, {topic, Topic}) ++ pg:get_members(?SCOPE, prefixes),
    case [Pid || Pid <- Members, node(Pid) =/= node()] of
        [] -> [];
        Remote -> lists:usort(Remote)
    end.

%% @doc How many subscriptions of those nodes the message was sent to, as far as they answered
%% within Timeout milliseconds.
-spec publish([pid()], binary(), term(), pos_integer()) -> non_neg_integer().
publish(Relays, Topic, Message, Timeout) ->
    Deadline = erlang:monotonic_time(millisecond) + Timeout,
    Refs = [ask(Relay, Topic, Message) || Relay <- Relays],
    lists:sum([count(Ref, Deadline) || Ref <- Refs]).

ask(Relay, Topic, Message) ->
    Ref = monitor(process, Relay, [{alias, reply_demonitor}]),
    Relay ! {publish, Ref, Topic, Message},
    Ref.

count(Ref, Deadline) ->
    receive
        {Ref, Count} -> Count;
        {'DOWN', Ref, process, _, _} -> 0
    after max(0, Deadline - erlang:monotonic_time(millisecond)) ->
        _ = demonitor(Ref, [flush]),
        receive
            {Ref, Count} -> Count
        after 0 -> 0
        end
    end.

-spec init([]) -> {ok, []}.
init([]) ->
    {ok, []}.

-spec handle_call(term(), gen_server:from(), []) -> {reply, {error, unknown_call}, []}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), []) -> {noreply, []}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-spec handle_info(term(), []) -> {noreply, []}.
handle_info({publish, Ref, Topic, Message}, State) when is_reference(Ref), is_binary(Topic) ->
    Ref ! {Ref, delivered(Topic, Message)},
    {noreply, State};
handle_info(_, State) ->
    {noreply, State}.

%% What another node sends must not end this process; the publisher's own node has reported it.
delivered(Topic, Message) ->
    try
        hornbeam_pubsub:deliver(Topic, Message)
    catch
        error:{Reason, _} when Reason =:= not_json; Reason =:= too_large -> 0
    end.
