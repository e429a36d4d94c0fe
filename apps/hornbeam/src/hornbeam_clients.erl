%% SPDX-License-Identifier: Apache-2.0
%% @doc Python programs that this node does not start and that serve no HTTP: they call its
%% services, and what they register is served. Each is a worker process (`hornbeam_worker_proc')
%% with a pool of its own, from which nobody takes a slot; it ends with its connection.
%%
%% attach/1 runs in the process that calls it; the supervisor of the clients in its own.
-module(hornbeam_clients).
-behaviour(supervisor).

-export([start_link/0, attach/1, init/1]).

%% Bytes of a window, which only exchanges have.
-define(WINDOW, 65536).
%% Milliseconds between signs of life of a client.
-define(HEARTBEAT, 1000).
%% What it may take to greet, and to leave when the node stops, milliseconds.
-define(BOOT_TIMEOUT, 30000).
-define(STOP_TIMEOUT, 2000).

-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% @doc Greet the program at the other end of the link that is described (`hornbeam_link:open/1').
%% The process ends, normally, with the connection.
-spec attach(#{descriptors := hornbeam_port:descriptors()}) -> {ok, pid()}.
attach(Link) ->
    Config = #{size => 1, queue_limit => 0, queue_timeout => 0},
    Pool = hornbeam_pool:new({client, make_ref()}, Config),
    {ok, Pid} = supervisor:start_child(?MODULE, [Pool, 1, maps:merge(options(), Link)]),
    {ok, Pid}.

%% Its handlers run in threads, like the requests of a WSGI worker.
options() ->
    #{
        renew => never,
        worker_class => wsgi,
        threads => 1,
        max_concurrent => 1,
        timeout => infinity,
        max_requests => infinity,
        max_requests_jitter => 0,
        response_window => ?WINDOW,
        request_window => ?WINDOW,
        heartbeat => ?HEARTBEAT,
        boot_timeout => ?BOOT_TIMEOUT,
        stop_timeout => ?STOP_TIMEOUT,
        %% Nobody waits for it here: the program knows when it is greeted.
        starter => make_ref(),
        boot => boot()
    }.

%% PROTOCOL.md, section 4.1.
boot() ->
    #{
        <<"app">> => <<>>,
        <<"interface">> => <<"client">>,
        <<"response_window">> => ?WINDOW,
        <<"request_window">> => ?WINDOW,
        <<"heartbeat">> => ?HEARTBEAT
    }.

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    %% Temporary: what is at the other end cannot be started from here.
    {ok, {#{strategy => simple_one_for_one, intensity => 0, period => 1}, [
        #{
            id => client,
            start => {hornbeam_worker_proc, start_link, []},
            restart => temporary,
            shutdown => ?STOP_TIMEOUT + 1000
        }
    ]}}.
