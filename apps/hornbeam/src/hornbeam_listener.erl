%% SPDX-License-Identifier: Apache-2.0
%% @doc The listening sockets of one application: opens them all or none, drains them when it ends.
%%
%% Runs in its own process. ranch's listeners live under its own supervisor; this process ties them
%% to our tree. Over TLS it looks for changed certificates now and then, and reads them when they
%% are the same twice: whoever writes several files is done then, and what is written within a
%% second of the file system's clock is not missed.
-module(hornbeam_listener).
-behaviour(gen_server).

-export([start_link/2, addresses/1, reload_certificates/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export_type([options/0]).

-include_lib("kernel/include/logger.hrl").

-type options() :: #{
    binds := [hornbeam_bind:bind(), ...],
    num_acceptors := pos_integer(),
    %% Milliseconds.
    graceful_timeout := non_neg_integer(),
    %% For each address.
    max_connections := pos_integer() | infinity,
    pool := hornbeam_pool:pool(),
    tls := [ssl:tls_server_option()] | undefined,
    cowboy := cowboy:opts()
}.

-record(state, {
    name :: hornbeam_pool:name(),
    options :: options(),
    listeners :: [{ranch:ref(), hornbeam_bind:bind()}],
    %% of the certificates that are in use, or that were refused; and of the last look
    used = undefined :: hornbeam_certificates:stamp() | undefined,
    seen = undefined :: hornbeam_certificates:stamp() | undefined
}).

%% Milliseconds.
-define(POLL, 20).
-define(LOOK, 2000).

-spec start_link(hornbeam_pool:name(), options()) -> {ok, pid()} | {error, term()}.
start_link(Name, Options) ->
    gen_server:start_link(?MODULE, {Name, Options}, []).

%% @doc What it listens on, as a person would write it, with the ports that the kernel chose.
-spec addresses(pid()) -> [binary()].
addresses(Listener) ->
    gen_server:call(Listener, addresses, 5000).

%% @doc As `hornbeam:reload_certificates/0'.
-spec reload_certificates(pid()) -> ok | {error, hornbeam_certificates:reason() | no_tls}.
reload_certificates(Listener) ->
    gen_server:call(Listener, reload_certificates, 5000).

-spec init({hornbeam_pool:name(), options()}) -> {ok, #state{}} | {stop, term()}.
init({Name, #{binds := Binds} = Options}) ->
    process_flag(trap_exit, true),
    Numbered = lists:zip(lists:seq(1, length(Binds)), Binds),
    case open([{{hornbeam, Name, N}, Bind} || {N, Bind} <- Numbered], Options, []) of
        {ok, Listeners} ->
            State = #state{name = Name, options = Options, listeners = Listeners},
            {ok, await_change(State#state{used = stamp_in_use(Name, Options)})};
        {error, Reason} -> {stop, {shutdown, Reason}}
    end.

stamp_in_use(_, #{tls := undefined}) -> undefined;
stamp_in_use(Name, _) -> hornbeam_tls:stamp_in_use(Name).

open([], _, Open) ->
    {ok, lists:reverse(Open)};
open([{Ref, Bind} = Listener | Rest], Options, Open) ->
    case open_one(Ref, Bind, Options) of
        ok ->
            open(Rest, Options, [Listener | Open]);
        {error, Reason} ->
            lists:foreach(fun close/1, Open),
            {error, {listen, maps:get(text, Bind), Reason}}
    end.

open_one(Ref, Bind, #{cowboy := Cowboy} = Options) ->
    ok = remove_stale(Bind),
    {Transport, Secure} =
        case Options of
            #{tls := undefined} -> {ranch_tcp, []};
            #{tls := Tls} -> {ranch_ssl, Tls}
        end,
    Buffer = {buffer, hornbeam_connection:first_buffer()},
    Socket = [{backlog, 4096}, Buffer | hornbeam_bind:to_ranch(Bind)] ++ Secure,
    Limits = hornbeam_listener_options:ranch(Options),
    ok = remove_left(Ref),
    ok = hornbeam_connection:set_options(Ref, Cowboy),
    case ranch:start_listener(Ref, Transport, Limits#{socket_opts => Socket},
        hornbeam_connection, hornbeam_connection)
    of
        {ok, _} ->
            ok;
        {error, Reason} ->
            ok = hornbeam_connection:forget_options(Ref),
            {error, reason(Reason)}
    end.

%% A killed predecessor of this process could not stop its listener.
remove_left(Ref) ->
    case is_map_key(Ref, ranch:info()) of
        true -> ranch:stop_listener(Ref);
        false -> ok
    end.

reason({{shutdown, {failed_to_start_child, _, {listen_error, _, Reason}}}, _}) -> Reason;
reason(Reason) -> Reason.

%% The file of a Unix socket outlives the process that made it; one that nobody answers is removed.
remove_stale(#{address := {local, Path}}) ->
    case gen_tcp:connect({local, Path}, 0, [local], 1000) of
        {ok, Socket} -> gen_tcp:close(Socket);
        {error, econnrefused} -> delete(Path);
        {error, _} -> ok
    end;
remove_stale(_) ->
    ok.

delete(Path) ->
    _ = file:delete(Path),
    ok.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call(addresses, _From, #state{listeners = Listeners, options = Options} = State) ->
    #{cowboy := #{hornbeam := #{scheme := Scheme}}} = Options,
    {reply, [address(Scheme, Ref, Bind) || {Ref, Bind} <- Listeners], State};
handle_call(reload_certificates, _From, #state{options = #{tls := undefined}} = State) ->
    {reply, {error, no_tls}, State};
handle_call(reload_certificates, _From, #state{name = Name} = State0) ->
    {Result, State} = reload(hornbeam_tls:stamp(Name), State0),
    {reply, Result, State};
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

address(Scheme, Ref, Bind) -> hornbeam_bind:format(Scheme, Bind, port(Ref, Bind)).

port(_, #{address := {local, _}}) -> 0;
port(Ref, _) -> ranch:get_port(Ref).

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info(look, State) ->
    {noreply, await_change(look(State))};
handle_info(_Info, State) ->
    {noreply, State}.

await_change(#state{options = #{tls := undefined}} = State) ->
    State;
await_change(State) ->
    _ = erlang:send_after(?LOOK, self(), look),
    State.

look(#state{name = Name, used = Used, seen = Seen} = State) ->
    case hornbeam_tls:stamp(Name) of
        Used -> State#state{seen = Used};
        Seen -> element(2, reload(Seen, State));
        New -> State#state{seen = New}
    end.

reload(Stamp, #state{name = Name} = State) ->
    Result = hornbeam_tls:reload(Name),
    case Result of
        ok ->
            ?LOG_NOTICE(#{what => certificates_reloaded, app => Name},
                #{domain => [hornbeam, listener]});
        {error, Reason} ->
            ?LOG_ERROR(#{what => certificates_reload_failed, app => Name,
                reason => iolist_to_binary(hornbeam:format_error(Reason)),
                consequence => <<"the certificates read before stay in use">>},
                #{domain => [hornbeam, listener]})
    end,
    {Result, State#state{used = Stamp, seen = Stamp}}.

%% @doc Nothing new is accepted, what is open may finish, then the connections are closed.
-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{options = Options, listeners = Listeners}) ->
    #{pool := Pool, graceful_timeout := Graceful} = Options,
    hornbeam_pool:set_draining(Pool),
    lists:foreach(fun({Ref, _}) -> ranch:suspend_listener(Ref) end, Listeners),
    %% "Going away"; those that are accepted from now on close themselves.
    [hornbeam_worker:close_websockets(W, 1001, <<>>) || W <- hornbeam_pool:workers(Pool)],
    await_idle(Pool, now_ms() + Graceful),
    lists:foreach(fun close/1, Listeners).

await_idle(Pool, Deadline) ->
    case hornbeam_pool:open_count(Pool) > 0 andalso now_ms() < Deadline of
        true ->
            timer:sleep(?POLL),
            await_idle(Pool, Deadline);
        false ->
            ok
    end.

close({Ref, Bind}) ->
    _ = ranch:stop_listener(Ref),
    ok = hornbeam_connection:forget_options(Ref),
    case Bind of
        #{address := {local, Path}} -> delete(Path);
        _ -> ok
    end.

now_ms() -> erlang:monotonic_time(millisecond).
