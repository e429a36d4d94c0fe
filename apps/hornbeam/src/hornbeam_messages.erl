%% SPDX-License-Identifier: Apache-2.0
%% @doc Services that take messages from any process in the cluster: a process of another node, a
%% C node, a program in Java or Python. docs/guides/interop.md has all terms.
%%
%% Runs in one process per registered name (`hornbeam_messages_request:names/0'), which only reads:
%% operations on named keys of the state are done at once, in the order they come, everything else
%% and every answer in a process of its own (`hornbeam_messages_call'), so that neither a slow
%% function nor a client that does not read keeps others waiting.
%%
%%   {'$gen_call', From, Request}                 answered as gen_server:call/2,3 expects
%%   {hornbeam_call, Pid, Tag, Request}           answered {hornbeam_reply, Tag, Answer}
%%   {'$gen_cast', Request}, {hornbeam_cast, Request}     not answered; a failure is logged
%%
%% Answer: `{ok, Value}' or `{error, {Name, Details}}'.
-module(hornbeam_messages).
-behaviour(gen_server).

-export([start_link/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-include_lib("kernel/include/logger.hrl").

%% Requests that one of these processes serves at once.
-define(MOST, 10000).

-record(state, {
    name :: hornbeam_messages_request:name(),
    %% monitors of the processes that serve requests
    open = #{} :: #{reference() => []},
    topics = hornbeam_messages_topics:new() :: hornbeam_messages_topics:state()
}).

-spec start_link(hornbeam_messages_request:name()) -> {ok, pid()}.
start_link(Name) ->
    gen_server:start_link({local, Name}, ?MODULE, Name, []).

-spec init(hornbeam_messages_request:name()) -> {ok, #state{}}.
init(Name) ->
    %% What passes messages on to subscribers is linked, and must not end the others.
    process_flag(trap_exit, true),
    {ok, #state{name = Name}}.

-spec handle_call(term(), term(), #state{}) -> {noreply, #state{}}.
handle_call(Request, {Pid, _} = From, State) when is_pid(Pid) ->
    {noreply, request(Request, {call, From}, State)};
handle_call(_, _, State) ->
    {noreply, unknown(State)}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(Request, State) ->
    {noreply, request(Request, none, State)}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({hornbeam_call, Pid, Tag, Request}, State) when is_pid(Pid) ->
    {noreply, request(Request, {message, Pid, Tag}, State)};
handle_info({hornbeam_cast, Request}, State) ->
    {noreply, request(Request, none, State)};
handle_info({'DOWN', Monitor, process, _, _}, #state{open = Open} = State) ->
    {noreply, State#state{open = maps:remove(Monitor, Open)}};
handle_info({'EXIT', Pid, Reason}, #state{topics = Topics} = State) ->
    {noreply, State#state{topics = hornbeam_messages_topics:ended(Pid, Reason, Topics)}};
handle_info(_, State) ->
    {noreply, unknown(State)}.

%% Never what it says: it may be anything, from anybody.
unknown(#state{name = Name} = State) ->
    ?LOG_WARNING(#{what => unknown_message, service => Name}, #{domain => [hornbeam, services]}),
    State.

request(_, Client, #state{open = Open} = State) when map_size(Open) >= ?MOST ->
    Limit = {overloaded, <<"requests of a service">>, ?MOST},
    {Name, Details} = hornbeam_service:fault(Limit),
    ok = hornbeam_messages_call:refuse(Client, {error, {Name, Details}}, State#state.name),
    State;
request(Request, Client, #state{name = Name} = State0) ->
    case hornbeam_messages_request:parse(Name, Request) of
        {ok, Work, Timeout} ->
            {Run, State} = prepare(Work, Timeout, Client, State0),
            opened(hornbeam_messages_call:start(Client, Run, Timeout, Name), State);
        {error, _} = Error ->
            opened(hornbeam_messages_call:start(Client, {done, Error}, infinity, Name), State0)
    end.

opened(Monitor, #state{open = Open} = State) ->
    State#state{open = Open#{Monitor => []}}.

prepare({service, Service, Arguments, Keywords}, Timeout, _, State) ->
    Perform = fun() -> hornbeam_services:perform(Service, Arguments, Keywords, Timeout) end,
    case hornbeam_services:is_inline(Service, Arguments) of
        true -> {{done, Perform()}, State};
        false -> {{run, Perform}, State}
    end;
prepare({hook, Operation, Arguments, Options}, _, _, State) ->
    {{run, fun() -> apply(hornbeam_hooks, Operation, Arguments ++ [Options]) end}, State};
prepare({stream, Arguments, Options}, _, Client, State) ->
    {hornbeam_messages_call:stream(Client, Arguments, Options), State};
prepare({topics, Operation}, _, Client, #state{topics = Topics0} = State) ->
    {Answer, Topics} = hornbeam_messages_topics:handle(Operation, Client, Topics0),
    {{done, Answer}, State#state{topics = Topics}}.
