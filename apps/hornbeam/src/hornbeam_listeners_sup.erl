%% SPDX-License-Identifier: Apache-2.0
%% @doc Supervises the listeners, one `hornbeam_listener' per application.
-module(hornbeam_listeners_sup).
-behaviour(supervisor).

-export([start_link/0, start_listener/2, stop_listener/1, listeners/0, init/1]).

-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

-spec start_listener(hornbeam_pool:name(), hornbeam_listener:options()) ->
    {ok, pid()} | {error, term()}.
start_listener(Name, #{graceful_timeout := Graceful} = Options) ->
    supervisor:start_child(?MODULE, #{
        id => Name,
        start => {hornbeam_listener, start_link, [Name, Options]},
        %% Open requests finish, then Cowboy's connections get their own time to end.
        shutdown => Graceful + 10000
    }).

-spec stop_listener(hornbeam_pool:name()) -> ok | {error, not_found}.
stop_listener(Name) ->
    case supervisor:terminate_child(?MODULE, Name) of
        ok -> supervisor:delete_child(?MODULE, Name);
        {error, not_found} = Error -> Error
    end.

%% @doc Those that run.
-spec listeners() -> [pid()].
listeners() ->
    case whereis(?MODULE) of
        undefined -> [];
        _ -> [Pid || {_, Pid, _, _} <- supervisor:which_children(?MODULE), is_pid(Pid)]
    end.

-spec init([]) -> {ok, {supervisor:sup_flags(), []}}.
init([]) ->
    {ok, {#{strategy => one_for_one, intensity => 5, period => 30}, []}}.
