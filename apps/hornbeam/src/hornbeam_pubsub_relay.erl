%% SPDX-License-Identifier: Apache-2.0
%% @doc Publish and subscribe between nodes: hands what other nodes publish to the subscribers of
%% this one, and answers with their number.
%%
%% In the `pg' scope `hornbeam_pubsub' it is a member of `relays' while it lives, of
%% `{topic, Topic}' while its node has a subscription to that topic, and of `prefixes' while it has
%% one by prefix: a node is sent only what may concern it.
%%
%%   {publish, Alias, Topic, Message}   answered {Alias, Relay, Count | {error, Reason}}
%%   {silent, Relay}                    a publisher of this node waited for Relay in vain
%%   {ping, Relay}, {pong, Relay}       until Relay answers it is waited for no more
%%
%% It owns no table: whom nobody waits for is in `hornbeam_pubsub_silent', of `hornbeam_tables'.
%% The publishers' part is `hornbeam_pubsub_remote'. join/1 to interested/1 run in the caller.
-module(hornbeam_pubsub_relay).
-behaviour(gen_server).

-export([start_link/0, scope/0, join/1, leave/1, rejoin/1]).
-export([interested/1, is_there/1, silent/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-include_lib("kernel/include/logger.hrl").

-define(SCOPE, hornbeam_pubsub).
%% {Relay, Sent, Dropped}: messages since it was found silent.
-define(SILENT, hornbeam_pubsub_silent).
%% Milliseconds between two looks at those that are silent.
-define(LOOK, 500).

-spec start_link() -> {ok, pid()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec scope() -> ?SCOPE.
scope() ->
    ?SCOPE.

%% @doc The node has a first subscription to the channel.
-spec join(hornbeam_pubsub:channel()) -> ok.
join({internal, _}) ->
    ok;
join(Channel) ->
    pg:join(?SCOPE, group(Channel), whereis(?MODULE)).

%% @doc The node has no subscription to the channel any more.
-spec leave(hornbeam_pubsub:channel()) -> ok.
leave({internal, _}) ->
    ok;
leave(Channel) ->
    _ = pg:leave(?SCOPE, group(Channel), whereis(?MODULE)),
    ok.

%% @doc The node has subscriptions to these channels and no others, whatever was said before: for a
%% registry that has come back, while the relay, which may have joined already, was there.
-spec rejoin([hornbeam_pubsub:channel()]) -> ok.
rejoin(Channels) ->
    Relay = whereis(?MODULE),
    Wanted = [group(Channel) || Channel <- Channels, element(1, Channel) =/= internal],
    Joined = lists:append([joined(Group, Relay) || Group <- pg:which_local_groups(?SCOPE)]),
    _ = [pg:leave(?SCOPE, Group, Relay) || Group <- Joined -- Wanted],
    lists:foreach(fun(Group) -> pg:join(?SCOPE, Group, Relay) end, Wanted -- Joined).

%% The group as often as the relay is in it.
joined(relays, _) -> [];
joined(Group, Relay) -> [Group || Pid <- pg:get_local_members(?SCOPE, Group), Pid =:= Relay].

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

%% @doc Whether that relay, and its node, are there as far as this node knows.
-spec is_there(pid()) -> boolean().
is_there(Relay) ->
    lists:member(Relay, pg:get_members(?SCOPE, relays)).

%% @doc A publisher has waited for Relay until its deadline: it is sent on, but not waited for until
%% it answers this node's relay.
-spec silent(pid()) -> ok.
silent(Relay) ->
    ?MODULE ! {silent, Relay},
    ok.

-spec init([]) -> {ok, []}.
init([]) ->
    true = ets:delete_all_objects(?SILENT),
    ok = pg:join(?SCOPE, relays, self()),
    {ok, []}.

-spec handle_call(term(), gen_server:from(), []) -> {reply, {error, unknown_call}, []}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), []) -> {noreply, []}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-spec handle_info(term(), []) -> {noreply, []}.
handle_info({publish, Alias, Topic, Message}, State) when is_reference(Alias), is_binary(Topic) ->
    ok = answer(Alias, {Alias, self(), delivered(Topic, Message)}),
    {noreply, State};
handle_info({ping, Relay}, State) when is_pid(Relay) ->
    ok = answer(Relay, {pong, self()}),
    {noreply, State};
handle_info({pong, Relay}, State) ->
    ok = answers_again(ets:take(?SILENT, Relay)),
    {noreply, State};
handle_info({silent, Relay}, State) ->
    _ = is_there(Relay) andalso ets:insert_new(?SILENT, {Relay, 0, 0}) andalso suspect(Relay),
    {noreply, State};
handle_info({look, Relay, Asked}, State) ->
    _ = ets:member(?SILENT, Relay) andalso look(Relay, Asked),
    {noreply, State};
handle_info(_, State) ->
    {noreply, State}.

%% What another node sends must not end this process.
delivered(Topic, Message) ->
    try
        hornbeam_pubsub:deliver(Topic, Message)
    catch
        error:{Name, _} = Reason when Name =:= not_json; Name =:= too_large -> {error, Reason}
    end.

%% Another node that does not read must not hold up those that do: where the connection to it is
%% full a process waits for it, and ends with the connection.
answer(To, Answer) ->
    case erlang:send(To, Answer, [nosuspend, noconnect]) of
        nosuspend ->
            _ = spawn(fun() -> erlang:send(To, Answer, [noconnect]) end),
            ok;
        _ ->
            ok
    end.

%%% Nodes that do not answer

suspect(Relay) ->
    ?LOG_WARNING(
        #{what => node_silent, node => node(Relay)}, #{domain => [hornbeam, pubsub]}
    ),
    look(Relay, asked(Relay)).

%% Asked once; again only while the connection takes nothing. A relay that has gone is forgotten.
look(Relay, Asked) ->
    case is_there(Relay) of
        true ->
            Again = Asked orelse asked(Relay),
            erlang:send_after(?LOOK, self(), {look, Relay, Again});
        false ->
            ets:delete(?SILENT, Relay)
    end.

asked(Relay) ->
    erlang:send(Relay, {ping, self()}, [nosuspend, noconnect]) =:= ok.

answers_again([{Relay, _, Dropped}]) ->
    ?LOG_NOTICE(
        #{what => node_answers, node => node(Relay), dropped => Dropped},
        #{domain => [hornbeam, pubsub]}
    );
answers_again([]) ->
    ok.
