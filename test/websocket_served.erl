%% SPDX-License-Identifier: Apache-2.0
%% @doc WebSockets as the node serves them, without Python: the process of a case is the worker
%% process of the pool, so that it says when what happens.
%% Runs in: that process.
-module(websocket_served).

-export([serve/2, serve/3, pool/0, opened/0, answer/2, answer/3, tell/2, said/0, is_silent/0]).
-export([accepted/1, accepted/4, offered/2]).

-define(POOL, websocket_suite).
-define(TIMEOUT, 30000).

%% @doc Serve WebSockets with these options while Fun runs, which gets the port; then nothing may be
%% left open.
-spec serve(map(), fun((inet:port_number()) -> term())) -> ok.
serve(Options, Fun) -> serve(Options, 10, Fun).

%% @doc The same with as many slots as Limit. The window is what `window' in the process dictionary
%% says.
-spec serve(map(), non_neg_integer(), fun((inet:port_number()) -> term())) -> ok.
serve(Given, Limit, Fun) ->
    {ok, Config} = hornbeam_options:check("app:app",
        maps:merge(#{worker_class => asgi, bind => "127.0.0.1:0"}, Given), []),
    Window = case_window(get(window)),
    Pool = hornbeam_pool:new(?POOL, #{size => 1, queue_limit => 0, queue_timeout => 1000}),
    ok = hornbeam_pool:set_worker(1, self(), Pool),
    ok = hornbeam_pool:set_queue(self(), Pool),
    ok = hornbeam_pool:set_limits(1, {Limit, Limit}, Pool),
    {ok, Listener} = hornbeam_listeners_sup:start_listener(?POOL,
        (maps:with([num_acceptors, max_connections], Config))#{
            binds => maps:get(bind, Config), pool => Pool, tls => undefined,
            graceful_timeout => 1000,
            cowboy => hornbeam_listener_options:cowboy(Config, ?POOL, Pool, Window)
        }),
    [Address] = hornbeam_listener:addresses(Listener),
    [_, Port] = string:split(Address, ":", trailing),
    try
        Fun(binary_to_integer(Port)),
        %% Whatever the case did, nothing may be left open.
        hornbeam_case:await(fun() -> hornbeam_pool:open_count(Pool) =:= 0 end)
    after
        ok = hornbeam_listeners_sup:stop_listener(?POOL),
        ok = hornbeam_pool:delete(?POOL),
        erase(window)
    end.

case_window(undefined) -> 262144;
case_window(Window) -> Window.

%% @doc The pool that this process is the worker of.
-spec pool() -> hornbeam_pool:name().
pool() -> ?POOL.

%% @doc The next request that the pool hands over.
-spec opened() -> {hornbeam_exchanges:to(), hornbeam_wire:request()}.
opened() ->
    receive
        {hornbeam_open, To, Request} -> {To, Request}
    after ?TIMEOUT -> error(no_request)
    end.

%% @doc Tell a stream, which is told before ACCEPT.
-spec answer(hornbeam_exchanges:to(), term()) -> term().
answer(To, Event) -> answer(1, To, Event).

-spec answer(hornbeam_wire:exchange_id(), hornbeam_exchanges:to(), term()) -> term().
answer(Id, {Pid, _} = To, Event) -> Pid ! {To, {hornbeam, self(), Id, Event}}.

%% @doc Tell the connection process, which is told after it.
-spec tell(hornbeam_exchanges:to(), term()) -> term().
tell({Pid, _}, Event) -> Pid ! {hornbeam, self(), 1, Event}.

%% @doc The next thing a socket says.
-spec said() -> tuple() | cancelled.
said() ->
    receive
        {Tag, 1, A, B} when Tag =:= hornbeam_message; Tag =:= hornbeam_close -> {Tag, A, B};
        {hornbeam_credit, 1, N} -> {hornbeam_credit, N};
        %% This process is the queue, too, which hears of clients that leave before their answer.
        {'$gen_cast', {cancel, _}} -> cancelled
    after ?TIMEOUT -> error(nothing_said)
    end.

%% @doc Whether no message comes for a while.
-spec is_silent() -> true | {said, tuple()}.
is_silent() ->
    receive
        {Tag, _, _, _} = Message when Tag =:= hornbeam_message -> {said, Message}
    after 100 -> true
    end.

%% @doc A socket that is accepted: the stream, the answer, the client.
-spec accepted(inet:port_number()) -> {hornbeam_exchanges:to(), map(), term()}.
accepted(Port) -> accepted(Port, undefined, #{}, []).

-spec accepted(inet:port_number(), binary() | undefined, map(), [tuple()]) ->
    {hornbeam_exchanges:to(), map(), term()}.
accepted(Port, Subprotocol, Headers, Offer) ->
    {To, Client} = offered(Port, Offer),
    answer(To, {accept, Subprotocol, Headers}),
    {101, Answer, Socket} = Client(),
    {To, Answer, Socket}.

%% @doc A handshake that the worker has; its end, once it is answered.
-spec offered(inet:port_number(), [tuple()]) -> {hornbeam_exchanges:to(), fun(() -> tuple())}.
offered(Port, Headers) ->
    Socket = raw_websocket:start(Port, <<"/chat?a=b">>, Headers),
    {To, _} = opened(),
    {To, fun() -> raw_websocket:answer(Socket) end}.
