%% SPDX-License-Identifier: Apache-2.0
%% @doc The listening sockets of one application: opens them all or none, drains them when it ends.
%%
%% Runs in its own process, which only waits for its end. Cowboy's listeners live under ranch's
%% supervisor; this process ties them to our tree.
-module(hornbeam_listener).
-behaviour(gen_server).

-export([start_link/2, addresses/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export_type([options/0]).

-type options() :: #{
    binds := [hornbeam_bind:bind(), ...],
    num_acceptors := pos_integer(),
    %% Milliseconds.
    graceful_timeout := non_neg_integer(),
    pool := hornbeam_pool:pool(),
    cowboy := cowboy:opts()
}.

-record(state, {
    options :: options(),
    listeners :: [{ranch:ref(), hornbeam_bind:bind()}]
}).

-define(POLL, 20).

-spec start_link(hornbeam_pool:name(), options()) -> {ok, pid()} | {error, term()}.
start_link(Name, Options) ->
    gen_server:start_link(?MODULE, {Name, Options}, []).

%% @doc What it listens on, as a person would write it, with the ports that the kernel chose.
-spec addresses(pid()) -> [binary()].
addresses(Listener) ->
    gen_server:call(Listener, addresses, 5000).

-spec init({hornbeam_pool:name(), options()}) -> {ok, #state{}} | {stop, term()}.
init({Name, #{binds := Binds} = Options}) ->
    process_flag(trap_exit, true),
    Numbered = lists:zip(lists:seq(1, length(Binds)), Binds),
    case open([{{hornbeam, Name, N}, Bind} || {N, Bind} <- Numbered], Options, []) of
        {ok, Listeners} -> {ok, #state{options = Options, listeners = Listeners}};
        {error, Reason} -> {stop, {shutdown, Reason}}
    end.

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

open_one(Ref, Bind, #{num_acceptors := Acceptors, cowboy := Cowboy}) ->
    ok = remove_stale(Bind),
    Transport = #{
        socket_opts => [{backlog, 4096}, {buffer, 16384} | hornbeam_bind:to_ranch(Bind)],
        num_acceptors => Acceptors,
        max_connections => infinity
    },
    ok = remove_left(Ref),
    case cowboy:start_clear(Ref, Transport, Cowboy) of
        {ok, _} -> ok;
        {error, Reason} -> {error, reason(Reason)}
    end.

%% A killed predecessor of this process could not stop its listener.
remove_left(Ref) ->
    case is_map_key(Ref, ranch:info()) of
        true -> cowboy:stop_listener(Ref);
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
handle_call(addresses, _From, #state{listeners = Listeners} = State) ->
    {reply, [address(Ref, Bind) || {Ref, Bind} <- Listeners], State};
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

address(_, #{address := {local, _}} = Bind) -> hornbeam_bind:format(Bind);
address(Ref, Bind) -> hornbeam_bind:format(Bind, ranch:get_port(Ref)).

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info(_Info, State) ->
    {noreply, State}.

%% @doc Nothing new is accepted, what is open may finish, then the connections are closed.
-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{options = Options, listeners = Listeners}) ->
    #{pool := Pool, graceful_timeout := Graceful} = Options,
    hornbeam_pool:set_draining(Pool),
    lists:foreach(fun({Ref, _}) -> ranch:suspend_listener(Ref) end, Listeners),
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
    _ = cowboy:stop_listener(Ref),
    case Bind of
        #{address := {local, Path}} -> delete(Path);
        _ -> ok
    end.

now_ms() -> erlang:monotonic_time(millisecond).
