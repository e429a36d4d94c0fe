%% SPDX-License-Identifier: Apache-2.0
%% @doc Python programs that this node does not start and that serve no HTTP: they call its
%% services, and what they register is served. Each is a worker process (`hornbeam_worker_proc')
%% with a pool of its own, from which nobody takes a slot; it ends with its connection.
%%
%% join/1 and attach/1 run in the process that calls it; the supervisor of the clients in its own.
-module(hornbeam_clients).
-behaviour(supervisor).

-export([start_link/0, configure/1, join/1, attach/1, init/1]).

%% Bytes of a window, which only exchanges have.
-define(WINDOW, 65536).
%% Milliseconds between signs of life of a client.
-define(HEARTBEAT, 1000).
%% What it may take to greet, and to leave when the node stops, milliseconds.
-define(BOOT_TIMEOUT, 120000).
-define(STOP_TIMEOUT, 2000).

-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% @doc Set how many programs from other machines may be attached at once: of the node's options,
%% `remote_clients'.
-spec configure(#{remote_clients := non_neg_integer(), atom() => term()}) -> ok.
configure(#{remote_clients := Limit}) ->
    persistent_term:put({?MODULE, limit}, Limit).

%% @doc A program on another machine joins. It may be one more than the limit when several do at
%% once.
-spec join(hornbeam_session:session()) -> {ok, pid()} | {error, not_enabled | limit}.
join(Session) ->
    Limit = limit(),
    #{active := Active} = maps:from_list(supervisor:count_children(?MODULE)),
    if
        Limit =:= 0 -> {error, not_enabled};
        Active >= Limit -> {error, limit};
        true -> attach(#{session => Session})
    end.

%% Before an application is started the environment of the node says, or the default.
limit() ->
    case persistent_term:get({?MODULE, limit}, undefined) of
        undefined ->
            Env = application:get_all_env(hornbeam),
            {ok, Limit} = hornbeam_options:value(remote_clients, Env),
            Limit;
        Limit ->
            Limit
    end.

%% @doc Greet the program at the other end of the link that is described (`hornbeam_link:open/1').
%% The process ends, normally, with the connection.
-spec attach(
    #{descriptors := hornbeam_port:descriptors()} | #{session := hornbeam_session:session()}
) -> {ok, pid()}.
attach(Link) ->
    Config = #{size => 1, local => 0, queue_limit => 0, queue_timeout => 0},
    Pool = hornbeam_pool:new({client, make_ref()}, Config),
    {ok, Pid} = supervisor:start_child(?MODULE, [Pool, 1, maps:merge(options(), Link)]),
    {ok, Pid}.

%% Its handlers run in threads, like the requests of a WSGI worker.
options() ->
    #{
        renew => never,
        own_pool => true,
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
