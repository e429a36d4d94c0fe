%% SPDX-License-Identifier: Apache-2.0
%% @doc Supervises the applications that are served, each by a `hornbeam_pool_sup'.
-module(hornbeam_pools_sup).
-behaviour(supervisor).

-export([start_link/0, start_pool/3, stop_pool/1, find/1, init/1]).

-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

-spec start_pool(hornbeam_pool:name(), hornbeam_pool:pool(), hornbeam_worker_life:options()) ->
    {ok, pid()} | {error, term()}.
start_pool(Name, Pool, Options) ->
    supervisor:start_child(?MODULE, #{
        id => Name,
        start => {hornbeam_pool_sup, start_link, [Pool, Options]},
        type => supervisor
    }).

-spec stop_pool(hornbeam_pool:name()) -> ok | {error, not_found}.
stop_pool(Name) ->
    case supervisor:terminate_child(?MODULE, Name) of
        ok -> supervisor:delete_child(?MODULE, Name);
        {error, not_found} = Error -> Error
    end.

%% @doc The pool of an application, by the name it was started with, and its supervisor. Runs in the
%% process that calls it.
-spec find(App :: binary()) -> {ok, hornbeam_pool:pool(), pid()} | error.
find(App) ->
    Children = supervisor:which_children(?MODULE),
    Found = [
        {ok, Pool, Supervisor}
     || {Name, Supervisor, _, _} <- Children,
        is_pid(Supervisor),
        {ok, Pool} <- [hornbeam_pool:lookup(Name)],
        maps:get(app, hornbeam_pool:config(Pool)) =:= App
    ],
    hd(Found ++ [error]).

-spec init([]) -> {ok, {supervisor:sup_flags(), []}}.
init([]) ->
    {ok, {#{strategy => one_for_one, intensity => 5, period => 30}, []}}.
