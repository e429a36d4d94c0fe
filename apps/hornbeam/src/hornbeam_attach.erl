%% SPDX-License-Identifier: Apache-2.0
%% @doc Takes programs on other machines that attach themselves: as workers of an application, as
%% providers of hooks, as clients (PROTOCOL.md, section 2.2).
%%
%% Runs in its own process, which has a registered name, and in one process for each that asks, so
%% that nobody waits for another's start. It takes from anyone in the cluster
%%   {attach, {Pid, Ref}, Options}
%% and answers Pid `{Ref, {refused, Name, Text}}'; or the worker process that is its own then
%% answers `{Ref, {attached, Worker, Info}}' (`hornbeam_session').
-module(hornbeam_attach).
-behaviour(gen_server).

-export([start_link/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-include_lib("kernel/include/logger.hrl").

-spec start_link() -> {ok, pid()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec init([]) -> {ok, []}.
init([]) -> {ok, []}.

-spec handle_call(term(), gen_server:from(), []) -> {reply, {error, unknown_call}, []}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), []) -> {noreply, []}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-spec handle_info(term(), []) -> {noreply, []}.
handle_info({attach, {Pid, Ref} = From, Options}, State) when
    is_pid(Pid), is_reference(Ref), is_map(Options)
->
    _ = spawn(fun() -> answered(attach(From, Options), From) end),
    {noreply, State};
handle_info(Message, State) ->
    ?LOG_WARNING(#{what => attach_message_unknown, message => short(Message)}, #{
        domain => [hornbeam, attach]
    }),
    {noreply, State}.

short(Message) -> lists:flatten(io_lib:format("~0tp", [Message], [{chars_limit, 200}])).

attach(From, Options) ->
    case hornbeam_attach_request:parse(From, Options) of
        {ok, {App, #{kind := worker} = Session}} ->
            worker(hornbeam_pools_sup:find(App), App, Session);
        {ok, {_, Session}} ->
            client(hornbeam_clients:join(Session));
        Refusal ->
            Refusal
    end.

worker(error, App, _) ->
    {refused, <<"no_such_app">>, <<"this node does not serve ", App/binary>>};
worker({ok, Pool, Supervisor}, App, Session) ->
    case hornbeam_attach_request:is_welcome(Session, hornbeam_pool:config(Pool)) of
        ok -> limited(hornbeam_pool_sup:attach(Supervisor, Pool, Session), App);
        Refusal -> Refusal
    end.

limited({ok, _} = Attached, _) ->
    Attached;
limited({error, limit}, App) ->
    {refused, <<"limit">>,
        <<"as many workers serve ", App/binary, " as its option remote_workers allows">>}.

client({ok, _} = Attached) ->
    Attached;
client({error, not_enabled}) ->
    {refused, <<"not_enabled">>,
        <<"this node takes no providers of hooks and no clients: set its option remote_clients">>};
client({error, limit}) ->
    {refused, <<"limit">>,
        <<"as many programs are attached as the node's option remote_clients allows">>}.

answered({ok, _}, _) ->
    ok;
answered({refused, Name, Text}, {Pid, Ref}) ->
    ?LOG_WARNING(#{what => attach_refused, node => node(Pid), name => Name, text => Text}, #{
        domain => [hornbeam, attach]
    }),
    _ = erlang:send(Pid, {Ref, {refused, Name, Text}}, [noconnect]),
    ok.
