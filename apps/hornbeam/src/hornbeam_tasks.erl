%% SPDX-License-Identifier: Apache-2.0
%% @doc Executions in the background: started, and their results kept until they expire.
%%
%% start/3 asks the server, which keeps the books: it starts a process per task under
%% `hornbeam_tasks_sup', watches it, and forgets results when they expire, or the oldest when there
%% are too many. await/2 runs in the waiting process and goes to the table, which
%% `hornbeam_tasks_sup' does not own: it outlives a crash of the server.
%%
%% Services: `task/Timeout/Path' with the payload of an execution gives the id of the task, a text
%% that nobody can guess; `await_result' takes `[Id]'.
-module(hornbeam_tasks).
-behaviour(gen_server).
-behaviour(hornbeam_service).

-export([start_link/0, configure/1, start/3, await/2, default_timeout/0, info/0]).
-export([handle/3, handle_payload/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export_type([id/0]).

-include_lib("kernel/include/logger.hrl").

-type id() :: binary().

%% {Id, running, pid()} | {Id, done, Answer, ExpiresAt :: milliseconds}
-define(TABLE, hornbeam_tasks).
%% {ExpiresAt, Id}, oldest first
-define(FINISHED, hornbeam_tasks_finished).

%% Milliseconds.
-define(DEFAULT_TIMEOUT, 3600000).
-define(START_TIMEOUT, 5000).
%% Until an application has been started.
-define(DEFAULT_TTL, 3600000).
-define(DEFAULT_LIMIT, 10000).

-record(state, {
    %% processes of tasks, by their monitors
    running = #{} :: #{reference() => id()},
    timer = undefined :: undefined | reference()
}).

-spec start_link() -> {ok, pid()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Milliseconds that a result is kept; tasks and results that there may be at once. From the
%% options of the application that was started last.
-spec configure(#{task_result_ttl := pos_integer(), task_limit := pos_integer(), _ => _}) -> ok.
configure(#{task_result_ttl := Ttl, task_limit := Limit}) ->
    persistent_term:put(?MODULE, {Ttl, Limit}).

limits() -> persistent_term:get(?MODULE, {?DEFAULT_TTL, ?DEFAULT_LIMIT}).

%% @doc What a task may take unless something else is asked for, milliseconds.
-spec default_timeout() -> 3600000.
default_timeout() -> ?DEFAULT_TIMEOUT.

%% @doc Run an execution in the background, for at most Timeout milliseconds.
-spec start(hornbeam_hooks_call:target(), binary(), pos_integer()) ->
    {ok, id()} | {error, {Fault :: binary(), map()}}.
start(Target, Payload, Timeout) ->
    gen_server:call(?MODULE, {start, Target, Payload, Timeout}, ?START_TIMEOUT).

%% @doc Tasks that run, and results that are kept.
-spec info() -> #{running := non_neg_integer(), finished := non_neg_integer()}.
info() ->
    Finished = ets:info(?FINISHED, size),
    #{running => max(0, ets:info(?TABLE, size) - Finished), finished => Finished}.

%% @doc The encoded answer of a task.
-spec await(id(), timeout()) -> hornbeam_caller:answer() | {error, timeout}.
await(Id, Timeout) ->
    case ets:lookup(?TABLE, Id) of
        [{_, running, Pid}] -> await(Id, Pid, Timeout);
        Rows -> answer(Id, Rows)
    end.

await(Id, Pid, Timeout) ->
    Monitor = monitor(process, Pid),
    receive
        {'DOWN', Monitor, process, _, Reason} ->
            case ets:lookup(?TABLE, Id) of
                %% The server learns of it at the same time.
                [{_, running, Pid}] -> hornbeam_task:killed(Reason);
                Rows -> answer(Id, Rows)
            end
    after Timeout ->
        _ = demonitor(Monitor, [flush]),
        {error, timeout}
    end.

answer(Id, [{_, done, Answer, Expires}]) ->
    case now_ms() < Expires of
        true -> Answer;
        false -> answer(Id, [])
    end;
answer(Id, []) ->
    {fault, <<"not_registered">>, term_to_binary(#{service => Id})}.

%%% Services

-spec handle_payload(binary(), hornbeam_service:context()) -> hornbeam_service:result().
handle_payload(Payload, #{service := <<"task/", Rest/binary>>}) ->
    [Before | After] = binary:split(Rest, <<"/">>),
    case {binary:split(Before, <<"?">>), After} of
        {[Timeout], [Path]} ->
            started(start(Path, Payload, binary_to_integer(Timeout)));
        {[Timeout, Labels], [Path]} ->
            Target = hornbeam_labels:split(<<Labels/binary, "/", Path/binary>>),
            started(start(Target, Payload, binary_to_integer(Timeout)));
        {_, []} ->
            {not_registered, Rest}
    end.

started({ok, Id}) -> {ok, Id};
started({error, {<<"overloaded">>, #{resource := What, limit := Limit}}}) ->
    {overloaded, What, Limit}.

%% The worker process ends this one at its caller's deadline.
-spec handle(hornbeam_service:arguments(), hornbeam_service:keywords(), Context) ->
    {encoded, hornbeam_caller:answer()} | {error, timeout} | {bad_term, binary()}
when
    Context :: hornbeam_service:context().
handle([Id], _, _) when is_binary(Id) ->
    case await(Id, infinity) of
        {error, timeout} = Error -> Error;
        Answer -> {encoded, Answer}
    end;
handle(_, _, _) ->
    {bad_term, <<"await_result takes the id of a task, a text">>}.

%%% The server

-spec init([]) -> {ok, #state{}}.
init([]) ->
    Rows = ets:tab2list(?TABLE),
    %% A task may have finished while there was no server.
    true = ets:insert(?FINISHED, [{{Expires, Id}} || {Id, done, _, Expires} <- Rows]),
    Running = [{monitor(process, Pid), Id} || {Id, running, Pid} <- Rows],
    {ok, timed(#state{running = maps:from_list(Running)})}.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call({start, Path, Payload, Timeout}, _, State0) ->
    {Ttl, Limit} = limits(),
    #state{running = Running} = State = expired(State0),
    case room(Limit) of
        true ->
            Id = binary:encode_hex(crypto:strong_rand_bytes(16)),
            {ok, Pid} = hornbeam_tasks_sup:start_task([Id, Path, Payload, {Timeout, Ttl}]),
            %% Unless it has finished already.
            _ = ets:insert_new(?TABLE, {Id, running, Pid}),
            Monitor = monitor(process, Pid),
            {reply, {ok, Id}, timed(State#state{running = Running#{Monitor => Id}})};
        false ->
            Details = #{resource => <<"tasks that run">>, limit => Limit},
            {reply, {error, {<<"overloaded">>, Details}}, timed(State)}
    end;
handle_call(_, _, State) ->
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({'DOWN', Monitor, process, _, Reason}, #state{running = Running} = State) ->
    case maps:take(Monitor, Running) of
        {Id, Rest} -> {noreply, timed(finished(Id, Reason, State#state{running = Rest}))};
        error -> {noreply, State}
    end;
handle_info({timeout, Timer, expire}, #state{timer = Timer} = State) ->
    {noreply, timed(expired(State#state{timer = undefined}))};
handle_info(Info, State) ->
    ?LOG_WARNING(#{what => stray_message_dropped, message => Info}, #{domain => [hornbeam, tasks]}),
    {noreply, State}.

%% A task that ended without a result was killed, or is a bug of ours.
finished(Id, Reason, State) ->
    {Ttl, _} = limits(),
    Expires =
        case ets:lookup(?TABLE, Id) of
            [{_, done, _, At}] ->
                At;
            [{_, running, _}] ->
                At = now_ms() + Ttl,
                true = ets:insert(?TABLE, {Id, done, hornbeam_task:killed(Reason), At}),
                At
        end,
    true = ets:insert(?FINISHED, {{Expires, Id}}),
    State.

%% One more is possible: a result that nobody has fetched may have to go for it.
room(Limit) ->
    case ets:info(?TABLE, size) < Limit orelse ets:first(?FINISHED) of
        true -> true;
        '$end_of_table' -> false;
        Oldest -> forget(Oldest) =:= ok
    end.

expired(State) ->
    Now = now_ms(),
    case ets:first(?FINISHED) of
        {Expires, _} = Oldest when Expires =< Now ->
            ok = forget(Oldest),
            expired(State);
        _ ->
            State
    end.

forget({_, Id} = Oldest) ->
    true = ets:delete(?TABLE, Id),
    true = ets:delete(?FINISHED, Oldest),
    ok.

%% One timer, for the next result that expires.
timed(#state{timer = undefined} = State) ->
    case ets:first(?FINISHED) of
        {Expires, _} ->
            After = max(1, Expires - now_ms()),
            State#state{timer = erlang:start_timer(After, self(), expire)};
        '$end_of_table' ->
            State
    end;
timed(State) ->
    State.

now_ms() -> erlang:monotonic_time(millisecond).
